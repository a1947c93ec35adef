"""A Prefect server of the farm's own on the loopback: its process and the environment of its clients."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from flows.local.processes import HOST, Part, answers
from flows.server.environment import EVERYWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A Prefect server of the farm's own.

    Attributes:
        port: where it listens.
        password: the password that it requires; None for no password.
        home: the folder for its data; None for the folder in Prefect's settings.
        database: URL of its database; None for that in Prefect's settings, by default SQLite in `home`.
        ui: whether it serves the UI.
        without: services of Prefect's server that are switched off.
    """

    port: int
    password: str | None = None
    home: Path | None = None
    database: str | None = None
    ui: bool = True
    without: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """URL of its UI."""
        return f"http://{HOST}:{self.port}"

    @property
    def api(self) -> str:
        """URL of its API."""
        return f"{self.url}/api"

    @property
    def credentials(self) -> str | None:
        """User name and password of its clients."""
        return None if self.password is None else f"enginefarm:{self.password}"

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment of its clients, including the password."""
        variables = {
            "PREFECT_HOME": None if self.home is None else str(self.home),
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": self.credentials,
            "NO_PROXY": f"{HOST},localhost",
        }
        return EVERYWHERE | {name: value for name, value in variables.items() if value is not None}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the server itself."""
        variables = {
            "PREFECT_SERVER_API_AUTH_STRING": self.credentials,
            "PREFECT_SERVER_UI_API_URL": self.api,
            # Workaround (Prefect 3.8.8): in the newer pages, browsers contact a third party even with
            # analytics off. Remove when they no longer do.
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_API_DATABASE_CONNECTION_URL": self.database,
            **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in self.without},
        }
        return self.client_environment | {
            name: value for name, value in variables.items() if value is not None
        }

    @property
    def part(self) -> Part:
        """Its process."""
        program = (sys.executable, "-P", "-m", "flows.local.prefect_server")
        return Part(
            name="server",
            command=(*program, "--host", HOST, "--port", str(self.port), *(() if self.ui else ("--no-ui",))),
            environment=self.environment,
            ready=lambda: answers(f"{self.api}/health"),
            end_seconds=10.0,
        )


def kept_password(file: Path) -> str:
    """Return the password in `file`, which only its owner can read; create it if there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return file.read_text("utf-8").strip()
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(made := new_password())
    return made


def new_password() -> str:
    """Return a new random password."""
    return secrets.token_urlsafe(24)
