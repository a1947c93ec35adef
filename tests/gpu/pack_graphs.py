"""Packs graphs, with inputs and TensorFlow's answers, for `refused_graphs.py`.

    python tests/gpu/pack_graphs.py --output TAR [--precision fp32] [--first JSON [--only]] FOLDER ...

FOLDER is what `tests/support/operators.py` or `tests/assets/convert_functions.py` left: graphs before they
are lowered. Each is lowered as the farm does it: FP32 graphs are the same for every family. What a
`refused.json` named with `--first` does not call built comes first, with `--only` nothing else is packed, and
graphs of an opset that TensorRT 8 is not given come last.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from tasks.domain.errors import FarmError
from tests.assets.build_functions import lowered

_OPSET_OF_8 = 17


def converted(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield name, reference and profiles of each case in `folder` that was converted."""
    if (folder / "operators.json").exists():
        for name, row in json.loads((folder / "operators.json").read_text("utf-8")).items():
            if "shapes" in row:
                reference = folder / name / "reference.npz"
                yield {"name": name, "reference": reference, "profiles": [row["shapes"]]}
        return
    for name, row in json.loads((folder / "converted.json").read_text("utf-8")).items():
        if "plan" in row:
            yield {"name": name, "reference": folder / f"{name}.npz", "profiles": row["plan"]["profiles"]}


def lowered_case(folder: Path, case: dict[str, Any], precision: str) -> dict[str, Any] | None:
    """Return `case` with its graph in `precision`; None if it has none."""
    try:
        graph = Path(lowered(folder, case["name"], precision))
    except FarmError as error:
        sys.stderr.write(f"{case['name']}: {error}\n")
        return None
    model = onnx.load(graph, load_external_data=False)
    opset = max(row.version for row in model.opset_import if not row.domain)
    return case | {
        "kind": folder.name, "name": f"{folder.name}/{case['name']}", "onnx": graph, "opset": opset,
        "operations": sorted({node.op_type for node in model.graph.node}),
    }  # fmt: skip


def pack(archive: Path, cases: list[dict[str, Any]]) -> None:
    """Write the archive: `cases.json`, and two files for each case."""
    with tarfile.open(archive, "w:gz") as packed:
        listed = []
        for number, case in enumerate(cases):
            names = {"onnx": f"{number}.onnx", "reference": f"{number}.npz"}
            for kind, name in names.items():
                packed.add(case[kind], name)
            listed.append(case | names)
        index = archive.with_suffix(".json")
        index.write_text(json.dumps(listed), "utf-8")
        packed.add(index, "cases.json")


def main() -> None:
    """Lower, sort and pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--first", type=Path, action="append", default=[])
    parser.add_argument("--only", action="store_true")
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    first: set[str] = set()
    for path in options.first:
        verdicts = json.loads(path.read_text("utf-8"))["cases"]
        first |= {name for name, row in verdicts.items() if row["verdict"] != "built"}
    cases = [
        case
        for folder in options.folders
        for row in converted(folder)
        if not options.only or f"{folder.name}/{row['name']}" in first
        if (case := lowered_case(folder, row, options.precision)) is not None
    ]
    cases.sort(key=lambda case: (case["opset"] > _OPSET_OF_8, case["name"] not in first))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    pack(options.output, cases)
    sys.stdout.write(f"{len(cases)} graphs, {options.output.stat().st_size >> 10} KiB\n")


if __name__ == "__main__":
    main()
