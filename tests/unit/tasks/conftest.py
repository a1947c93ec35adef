"""Children that count other processors than there are."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.children import sandbox
from tasks.children.environment import child_environment

SOURCE = Path(__file__).parents[2] / "support/many_processors.c"


@pytest.fixture
def have_processors(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    """A function after which children count so many processors; 0 for those that there are."""

    def fake(processors: int) -> None:
        if not processors:
            return
        if (compiler := shutil.which("cc")) is None:
            pytest.skip("needs a C compiler to have more processors")
        library = tmp_path_factory.mktemp("processors") / "many_processors.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        readable = sandbox._readable

        def environment(interpreter: str, home: Path) -> dict[str, str]:
            more = {"LD_PRELOAD": str(library), "PROCESSORS": str(processors)}
            return child_environment(interpreter, home) | more

        monkeypatch.setattr(sandbox, "child_environment", environment)
        monkeypatch.setattr(sandbox, "_readable", lambda: [*readable(), str(library)])

    return fake
