"""Homes of Prefect whose database is there already."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.workers import made_once


def migrated_home(factory: pytest.TempPathFactory, folder: Path) -> Path:
    """Make `folder` a home of Prefect with an empty database; migrating each would cost five seconds."""

    def migrate(template: Path) -> None:
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        subprocess.run(
            command, env=os.environ | {"PREFECT_HOME": str(template)}, check=True, capture_output=True
        )

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(made_once(factory, "prefect-home", migrate) / "prefect.db", folder)
    return folder
