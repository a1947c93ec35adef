"""The folder of the Prefect server that a command starts for itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.local import temporary_server as module
from flows.local.server import LocalServer
from tasks.domain.errors import RequestInvalid


def test_the_folder_of_prefect_is_made_with_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "not/there/yet"

    class Started(Exception):
        pass

    def started(_server: LocalServer) -> None:
        assert home.is_dir()
        raise Started

    monkeypatch.setattr(module, "_served_by", started)
    with temporary_settings({PREFECT_HOME: home, PREFECT_API_URL: None}), pytest.raises(Started):
        module.temporary_server().__enter__()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file/prefect"
    with (
        temporary_settings({PREFECT_HOME: home, PREFECT_API_URL: None}),
        pytest.raises(RequestInvalid, match=rf"Prefect's database at {home}; .*set PREFECT_HOME"),
    ):
        module.temporary_server().__enter__()
