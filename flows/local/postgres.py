"""A PostgreSQL for the farm's own Prefect server: Debian's programs, on the loopback, with its own folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.local.processes import HOST, Part, free_port
from flows.local.server import kept_password
from tasks.domain.errors import RequestInvalid

_DEBIAN = Path("/usr/lib/postgresql")
_PROGRAMS = ("postgres", "initdb", "pg_isready")
_NAME = "enginefarm"
_USER_OF_ROOT = "postgres"  # PostgreSQL refuses to run as root
_SHOWN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database server.

    Attributes:
        url: how Prefect's server connects, with the password.
        folder: its data.
        part: its process.
    """

    url: str
    folder: Path
    part: Part


def own_database(data: Path) -> Database:
    """Return PostgreSQL on a free port of the loopback; its cluster below `data` is created if needed.

    Raises:
        RequestInvalid: no PostgreSQL is installed, or only another version, or the cluster cannot be created.
    """
    cluster, port = data / "postgres", free_port(0, "--data")
    programs = _programs_for(cluster)
    password = kept_password(data / "database-password")
    user = _USER_OF_ROOT if os.getuid() == 0 else ""
    if not _version_of(cluster):
        _make_cluster(cluster, password, programs / "initdb", user)
    settings = {"listen_addresses": HOST, "unix_socket_directories": "", "port": str(port)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    asked = [str(programs / "pg_isready"), "--host", HOST, "--port", str(port), "--quiet"]
    part = Part(
        name="database",
        command=(str(programs / "postgres"), "-D", str(cluster), *options),
        ready=lambda: subprocess.run(asked, check=False).returncode == 0,
        user=user,
        end_signal=signal.SIGINT,  # after SIGTERM, it would wait for its clients
    )
    url = f"postgresql+asyncpg://{_NAME}:{password}@{HOST}:{port}/postgres"
    return Database(url=url, folder=cluster, part=part)


def installed() -> Iterator[Path]:
    """Yield the folders with PostgreSQL's programs: the one on PATH, then Debian's, the newest first."""
    on_path = shutil.which("postgres")
    folders = [] if on_path is None else [Path(on_path).resolve().parent]
    folders += sorted(_DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    for folder in dict.fromkeys(folders):
        if all((folder / program).exists() for program in _PROGRAMS):
            yield folder


def _programs_for(cluster: Path) -> Path:
    """Return the folder of the programs for `cluster`: those of the major version that created it.

    Raises:
        RequestInvalid: they are not installed.
    """
    made_by = _version_of(cluster)
    folders = list(installed())
    for folder in folders:
        if made_by in ("", _major(folder / "postgres")):
            return folder
    package = f"postgresql-{made_by}" if made_by else "postgresql"
    raise RequestInvalid(
        wanted=f"PostgreSQL {made_by}, which created {cluster}" if made_by else "PostgreSQL for `--postgres`",
        found=f"{', '.join(map(str, folders)) or 'none'} (looked on PATH and in {_DEBIAN}/*/bin)",
        fix=f"apt-get install {package}, or leave out --postgres: SQLite is enough for one person",
    )


def _version_of(cluster: Path) -> str:
    """Return the major version that created `cluster`; empty if there is no cluster yet."""
    try:
        return (cluster / "PG_VERSION").read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def _major(postgres: Path) -> str:
    printed = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"\d+", printed)
    return number[0] if number else ""


def _make_cluster(cluster: Path, password: str, initdb: Path, user: str) -> None:
    """Create a cluster that requires `password`.

    Raises:
        RequestInvalid: it cannot be created.
    """
    cluster.mkdir(parents=True, exist_ok=True)
    cluster.chmod(0o700)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(password)
        file.flush()
        options = {"pgdata": cluster, "username": _NAME, "pwfile": file.name, "encoding": "UTF8",
                   "auth": "scram-sha-256"}  # fmt: skip
        try:
            if user:
                for path in (cluster, file.name):
                    shutil.chown(path, user, user)
            subprocess.run(
                [initdb, *(f"--{name}={value}" for name, value in options.items())],
                capture_output=True, text=True, check=True, cwd="/",
                user=user or None, group=user or None, extra_groups=[] if user else None,
            )  # fmt: skip
        except (subprocess.CalledProcessError, LookupError) as error:
            raise _not_made(cluster, error, user) from error


def _not_made(cluster: Path, error: subprocess.CalledProcessError | LookupError, user: str) -> RequestInvalid:
    printed = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
    root = f"; for root, the user {user} must exist and have access to that folder (--data)" if user else ""
    return RequestInvalid(
        wanted=f"a PostgreSQL cluster in {cluster}",
        found=printed.strip()[-_SHOWN:],
        fix=f"correct the error above{root}",
    )
