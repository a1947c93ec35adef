"""Finds the plugin libraries of a request on this host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.domain.request import Plugin
from tasks.tensorrt.inside.plugins import plugin_path


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFile:
    """A library on this host, and the digest that it must have when it is loaded."""

    path: Path
    sha256: str


def plugin_files(plugins: tuple[Plugin, ...], folder: Path | None) -> tuple[PluginFile, ...]:
    """Return the files of `plugins`: only files that an operator put into `folder` are ever loaded.

    Raises:
        PluginRefused: this host has no such folder, or a library is not in it.
    """
    return tuple(
        PluginFile(path=plugin_path(plugin.library, folder), sha256=plugin.sha256) for plugin in plugins
    )


def plugins_document(plugins: tuple[PluginFile, ...]) -> list[dict[str, Any]]:
    """Return `plugins` as a child takes them, which may read them then."""
    return [{"path": plugin.path, "sha256": plugin.sha256} for plugin in plugins]
