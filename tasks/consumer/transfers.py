"""Bundles and image layouts for both command lines: out of what people type, and in words for them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.consumer.bundling import write_bundle
from tasks.consumer.client import Client, cache_at
from tasks.consumer.oci_layout import export_layout
from tasks.consumer.selection import Selection, selection
from tasks.consumer.unbundling import Unbundled, unbundle
from tasks.domain.bundle import Contents
from tasks.domain.host_options import named_gpu, named_wanted
from tasks.domain.oci import index_tag


def select(
    client: Client, name: str, version: str | None, precisions: Iterable[str], gpus: Iterable[str]
) -> Selection:
    """Return the engines that `MODEL[@CHANNEL]` or a version names, for the named GPUs or all.

    Raises:
        FarmError: as `selection`; RequestInvalid if a name is unknown.
    """
    rows = [named_gpu(gpu) for gpu in gpus]
    return selection(client, named_wanted(name, version, precisions), rows)


def bundled(client: Client, chosen: Selection, output: Path) -> dict[str, Any]:
    """Write the bundle, and return what it contains, JSON-ready.

    Raises:
        FarmError: as `write_bundle`.
    """
    contents = write_bundle(client, chosen, output)
    engines = [engine.key for engine in chosen.engines]
    return {"path": str(output), "size": contents.size, **_contents(contents), "engines": engines}


def exported(client: Client, chosen: Selection, output: Path) -> dict[str, Any]:
    """Write the image layout, and return its images, JSON-ready.

    Raises:
        FarmError: as `export_layout`.
    """
    images = [
        {
            "tag": image.tag,
            "digest": f"sha256:{image.manifest.sha256}",
            "engine": image.engine.key,
            "referrers": [each["digest"] for each in image.referrers],
        }
        for image in export_layout(client, chosen, output)
    ]
    return {"path": str(output), "tag": index_tag(chosen.name), "images": images}


def unbundled(path: Path, cache: Path | None, store: str | None) -> tuple[Unbundled, dict[str, Any]]:
    """Unpack a bundle of `store`, or of ENGINEFARM_STORE; return what the cache got, also JSON-ready.

    Raises:
        FarmError: as `unbundle`.
    """
    to = cache_at(cache)
    result = unbundle(path, to, store or os.environ.get("ENGINEFARM_STORE") or None)
    return result, {
        "cache": str(to.folder),
        **_contents(result.contents),
        "number": None if result.channel is None else result.channel.move.number,
        "kept": result.former,
        "engines": [engine.key for engine in result.engines],
    }


def unbundled_lines(result: Unbundled) -> list[str]:
    """Return what the cache got, for people."""
    contents = result.contents
    if contents.channel is None:
        name, version = contents.model, f" --version {contents.version}"
    else:
        name, version = f"{contents.model}@{contents.channel}", ""
    lines = [engine.key for engine in result.engines]
    if result.former is not None and result.channel is not None:
        lines.append(
            f"{name} stays at move {result.former}, which this cache has seen: the bundle has move "
            f"{result.channel.move.number}"
        )
    return [*lines, f"Next: enginefarm fetch {name}{version} --store {contents.store} --offline"]


def _contents(contents: Contents) -> dict[str, Any]:
    return {
        "store": contents.store,
        "model": contents.model,
        "version": contents.version,
        "channel": contents.channel,
    }
