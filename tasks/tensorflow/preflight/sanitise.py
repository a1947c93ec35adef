"""A SavedModel as it is converted: a copy that contains only what was checked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from tasks.domain.errors import ArchiveRefused
from tasks.tensorflow.signatures import SERVE, serving_graph

GRAPH_FILE = "saved_model.pb"
_SWITCHES = ("Case", "StatelessCase")
_DATA_FOLDERS = ("variables", "assets")


def sanitise(saved_model: Any) -> None:
    """Remove, in place, what keeps a valid model from loading or converting.

    These are slot variables of optimisers, `_XlaMustCompile` (it keeps functions from being inlined), the
    attribute that makes TensorFlow lower `tf.switch_case` to operations that ONNX lacks, and every graph but
    the one for serving. That graph keeps only the tag `serve`: TensorFlow 1 also wrote it with `train` or
    `gpu`.
    """
    graph = serving_graph(saved_model)
    kept = type(graph).FromString(graph.SerializeToString())
    del saved_model.meta_graphs[:]
    saved_model.meta_graphs.append(kept)
    graph = saved_model.meta_graphs[0]
    graph.meta_info_def.tags[:] = [SERVE]
    for node in graph.object_graph_def.nodes:
        del node.slot_variables[:]
    functions = graph.graph_def.library.function
    holders = [
        *graph.graph_def.node,
        *functions,
        *(node for function in functions for node in function.node_def),
    ]
    for holder in holders:
        holder.attr.pop("_XlaMustCompile", None)
        if getattr(holder, "op", "") in _SWITCHES:
            holder.attr.pop("_lower_using_switch_merge", None)


def refuse_links_to_outside(folder: Path) -> None:
    """Check every entry below `folder`.

    Raises:
        ArchiveRefused: a link leads out of the folder, or an entry is no file, folder or link.
    """
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        plain = path.is_file() or path.is_dir()
        if not plain or not path.resolve().is_relative_to(root):
            raise ArchiveRefused(
                wanted=f"files and folders below {folder.name}",
                found=f"{path.relative_to(folder)}, "
                + (f"a link to {path.readlink()}" if path.is_symlink() else "neither a file nor a folder"),
                fix="upload the files themselves instead of links to them",
            )


def write_sanitised(folder: Path, saved_model: Any, target: Path) -> None:
    """Write `saved_model` to the new folder `target`, beside hard links to the data of `folder`."""
    sanitise(saved_model)
    target.mkdir(parents=True)
    (target / GRAPH_FILE).write_bytes(saved_model.SerializeToString())
    for name in _DATA_FOLDERS:
        for source in sorted((folder / name).rglob("*")):
            if source.is_file():
                _link(source.resolve(), target / source.relative_to(folder))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
