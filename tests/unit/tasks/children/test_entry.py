from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "loaded"), [("tasks.tensorflow.plan_child", "False"), ("tasks.charts.draw", "True")]
)
def test_children_that_load_tensorflow_do_not_load_matplotlib_with_it(module: str, loaded: str) -> None:
    program = (
        "import sys; from tasks.children.entry import _import_module\n"
        f"_import_module({module!r})\n"
        "try:\n    import matplotlib\n"
        "except ImportError:\n    pass\n"
        "print(sys.modules['matplotlib'] is not None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{loaded}\n"
