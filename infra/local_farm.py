"""The farm of compose.yaml on one machine, without containers: with PostgreSQL where Debian's is installed.

    python infra/local_farm.py FOLDER [--port N] [--s3-port N] [--database-port N]

PostgreSQL, Prefect's server with a password, S3 and SQS, and the agents run as children of this process and
keep what they keep below FOLDER. Ctrl-C ends them. `enginefarm up` is the same with SQLite, for one person.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from flows.cli.output import say
from flows.cli.up import run_parts, write_environment
from flows.local.farm import Server, own_server, own_storage, parts_of
from flows.local.processes import Part, free_port
from flows.local.server import kept_password

_PROGRAMS = "/usr/lib/postgresql"
_USER = "enginefarm"
_USER_OF_ROOT = "postgres"


def find_postgres(programs: Path = Path(_PROGRAMS)) -> Path | None:
    """Return the folder with the newest PostgreSQL's programs; None where there is none."""
    versions = sorted(
        (path for path in programs.glob("*/bin") if (path / "postgres").exists()),
        key=lambda path: int(path.parent.name),
    )
    return versions[-1] if versions else None


def postgres(programs: Path, home: Path, port: int) -> tuple[Part, str]:
    """Make a database cluster in `home` where there is none; return the server's process and its URL.

    PostgreSQL refuses to run as root: root's cluster belongs to the user `postgres`.
    """
    user = _USER_OF_ROOT if os.getuid() == 0 else ""
    cluster, secret = home / "postgres", kept_password(home / "database-password")
    if not (cluster / "PG_VERSION").exists():
        _make_cluster(cluster, secret, str(programs / "initdb"), user)
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(port)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    asked = [str(programs / "pg_isready"), "--host", "127.0.0.1", "--port", str(port), "--quiet"]
    part = Part(
        name="database",
        command=(str(programs / "postgres"), "-D", str(cluster), *options),
        ready=lambda: subprocess.run(asked, check=False).returncode == 0,
        user=user,
        end_signal=signal.SIGINT,  # with SIGTERM it waits for its clients
    )
    return part, f"postgresql+asyncpg://{_USER}:{secret}@127.0.0.1:{port}/postgres"


def _make_cluster(cluster: Path, secret: str, initdb: str, user: str) -> None:
    cluster.mkdir(parents=True, exist_ok=True)
    cluster.chmod(0o700)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(secret)
        file.flush()
        if user:
            for path in (str(cluster), file.name):
                shutil.chown(path, user, user)
        options = {"pgdata": str(cluster), "username": _USER, "pwfile": file.name, "encoding": "UTF8",
                   "auth": "scram-sha-256"}  # fmt: skip
        arguments = [f"--{name}={value}" for name, value in options.items()]
        subprocess.run(
            [initdb, *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/",
            user=user or None, group=user or None, extra_groups=[] if user else None,
        )  # fmt: skip


def main() -> None:
    """Run the farm until Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    for name, port in (("--port", 4200), ("--s3-port", 4566), ("--database-port", 5432)):
        parser.add_argument(name, type=int, default=port)
    parser.add_argument("--only", nargs="*", help="start only these parts")
    parser.add_argument("--gpu", action="store_true", help="start GPU agents, too")
    chosen = parser.parse_args()
    home = chosen.folder.absolute()
    home.mkdir(parents=True, exist_ok=True)
    first: tuple[Part, ...] = ()
    database = None
    if programs := find_postgres():
        part, database = postgres(programs, home, free_port(chosen.database_port, "--database-port"))
        first = (part,)
    storage = own_storage(free_port(chosen.s3_port, "--s3-port"))
    server = own_server(home, free_port(chosen.port, "--port"), database)
    parts = (*first, *parts_of(server, storage, gpu=chosen.gpu))
    kept = tuple(part for part in parts if chosen.only is None or part.name in chosen.only)
    file = write_environment(home, server, storage)
    run_parts(kept, home / "logs", lambda: _say_where(server, file, database))


def _say_where(server: Server, file: Path, database: str | None) -> None:
    kind = "PostgreSQL" if database else f"SQLite: no PostgreSQL in {_PROGRAMS} (apt-get install postgresql)"
    say(f"{server.page} on {kind}; for a shell: . {file}")


if __name__ == "__main__":
    main()
