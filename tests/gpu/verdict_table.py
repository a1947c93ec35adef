"""Adds runs of `refused_graphs.py` to the results, and writes their verdicts into the table of refusals.

    python tests/gpu/verdict_table.py [REFUSED.JSON ...]

A run of the same TensorRT for the same compute capability and precision is replaced. In
`results/refused.json` a run has what it did not build, or built with wrong values, and the date; `built` is
None for all the other graphs, or lists those of an archive that had only some. The table is
`tasks/tensorrt/inside/verdicts.json`; of its kinds of refusal only the verdicts are written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
RESULTS = _ROOT / "tests/gpu/results/refused.json"
TABLE = _ROOT / "tasks/tensorrt/inside/verdicts.json"
_LONGEST = 300
_TOLERANCE = 1e-3
"""The gate's own for FP32."""


def verdict(row: dict[str, Any]) -> str:
    """Return the verdict on a graph in one word."""
    if row["verdict"] != "built":
        return "refused" if row["verdict"].startswith(("refused", "failed")) else "crashed"
    worst = row.get("worst") or {"relative": 0.0, "special": 0}
    return "built" if worst["relative"] <= _TOLERANCE and not worst["special"] else "wrong"


def compact(run: dict[str, Any], graphs: Iterable[str]) -> dict[str, Any]:
    """Return `run` without what it built right; `graphs` are those that any run has."""
    verdicts = {name: verdict(row) for name, row in run["cases"].items()}
    right = sorted(name for name, text in verdicts.items() if text == "built")
    tried = {*run["cases"], *run["not_tried"]}
    other = {
        name: {"verdict": verdicts[name], "said": (row.get("said") or str(row.get("worst", "")))[:_LONGEST]}
        for name, row in sorted(run["cases"].items())
        if verdicts[name] != "built"
    }
    head = {name: run[name] for name in ("date", "module", "tensorrt", "gpu", "compute", "precision")}
    built = None if tried == set(graphs) else right
    return head | {"built": built, "count": len(right), "not_tried": run["not_tried"], "other": other}


def family(run: dict[str, Any]) -> str:
    """Return the name of the family that made `run`."""
    if run["module"] == "tensorrt_rtx":
        return "TensorRT-RTX"
    major, minor = run["tensorrt"].split(".")[:2]
    return f"TensorRT {major}.{minor}" if major == "8" else f"TensorRT {major}"


def _verdict_of(run: dict[str, Any], names: Iterable[str]) -> str | None:
    """Return the verdict of `run` on all the graphs with these names; None if it did not try them."""
    texts = set()
    for name in names:
        if name in run["other"]:
            texts.add(run["other"][name]["verdict"])
        elif name in run["not_tried"] or (run["built"] is not None and name not in run["built"]):
            continue
        else:
            texts.add("built")
    if len(texts) > 1:
        return "some_built" if "built" in texts else "refused"
    return texts.pop() if texts else None


def verdicts(runs: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Return the rows of a kind whose graphs have these `names`: one for each version of a family."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        text = _verdict_of(run, names)
        if text is None:
            continue
        head = {"family": family(run), "version": run["tensorrt"], "date": run["date"][:10]}
        row = rows.setdefault((head["family"], head["version"]), head)
        place = f"sm{run['compute'].replace('.', '')}"
        precision = "" if run["precision"] == "fp32" else f" in {run['precision']}"
        row.setdefault(text, []).append(place + precision)
    return list(rows.values())


def filled(table: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """Return `table` with the verdicts of `results`."""
    kinds = [kind | {"verdicts": verdicts(results["runs"], kind["graphs"])} for kind in table["kinds"]]
    return table | {"kinds": kinds}


def _sorting(run: dict[str, Any]) -> tuple[Any, ...]:
    return family(run), [int(part) for part in run["compute"].split(".")], run["precision"] != "fp32"


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(first[name] == second[name] for name in ("module", "tensorrt", "compute", "precision"))


def main() -> None:
    """Read, merge and write."""
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"graphs": [], "runs": []}
    added = [json.loads(Path(path).read_text("utf-8")) for path in sys.argv[1:]]
    graphs = sorted(
        {*results["graphs"], *(name for run in added for name in (*run["cases"], *run["not_tried"]))}
    )
    for run in added:
        row = compact(run, graphs)
        results["runs"] = [other for other in results["runs"] if not _same(other, row)] + [row]
    results = {"graphs": graphs, "runs": sorted(results["runs"], key=_sorting)}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    table = filled(json.loads(TABLE.read_text("utf-8")), results)
    TABLE.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
