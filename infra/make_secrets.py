"""Write the secrets of compose.yaml into a folder, one file each; what is there is kept.

python infra/make_secrets.py infra/secrets
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

# Containers read them as their own users, which no name on the host stands for; the folder keeps others out.
_FILE_MODE, _FOLDER_MODE = 0o444, 0o700


def make_secrets(folder: Path) -> None:
    """Write what is missing in `folder`, which only its owner can enter."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(_FOLDER_MODE)
    database = _write(folder / "POSTGRES_PASSWORD", secrets.token_urlsafe(24))
    url = f"postgresql+asyncpg://enginefarm:{database}@database:5432/prefect"
    _write(folder / "PREFECT_API_DATABASE_CONNECTION_URL", url)
    _write(folder / "PREFECT_API_AUTH_STRING", f"enginefarm:{secrets.token_urlsafe(24)}")
    _write(folder / "AWS_ACCESS_KEY_ID", secrets.token_hex(10))
    _write(folder / "AWS_SECRET_ACCESS_KEY", secrets.token_urlsafe(30))


def _write(file: Path, value: str) -> str:
    """Return what `file` holds; it gets `value` where it does not exist."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE_MODE)
    except FileExistsError:
        return file.read_text("utf-8")
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(value)
    return value


if __name__ == "__main__":
    make_secrets(Path(sys.argv[1]))
