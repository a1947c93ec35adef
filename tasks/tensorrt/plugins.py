"""Which files of this host the plugins of a request are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.domain.errors import PluginRefused
from tasks.domain.request import Plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFile:
    """A library on this host, and the digest that it must have when it is loaded."""

    path: Path
    sha256: str


def plugin_files(plugins: tuple[Plugin, ...], folder: Path | None) -> tuple[PluginFile, ...]:
    """Return the files of `plugins`: only what an operator put into `folder` is ever loaded.

    Raises:
        PluginRefused: this host has no such folder, or a library is not in it.
    """
    found = []
    for plugin in plugins:
        path = None if folder is None else folder / plugin.library
        if path is None or not path.is_file():
            raise PluginRefused(
                wanted=f"the library {plugin.library} that the request names",
                found="that this host loads no plugins" if folder is None else f"no such file in {folder}",
                fix="put it into the folder that ENGINEFARM_PLUGINS names on the host that builds",
            )
        found.append(PluginFile(path=path.absolute(), sha256=plugin.sha256))
    return tuple(found)


def plugins_document(plugins: tuple[PluginFile, ...]) -> list[dict[str, str]]:
    """Return `plugins` as a child takes them."""
    return [{"path": str(plugin.path), "sha256": plugin.sha256} for plugin in plugins]
