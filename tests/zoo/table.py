"""The kept results: a JSON file with a row for each model, and the same as Markdown."""

from __future__ import annotations

import datetime as dt
import json
import platform
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.tensorflow.models import conversion_tools
from tests.zoo.models import MODELS
from tests.zoo.row import ZooModel
from tests.zoo.sweep import Bench

_FAMILIES = {
    "applications": "keras.applications",
    "trained": "Trained models out of PyPI wheels",
    "backbones": "keras-hub backbones, tiny",
    "recurrent": "Recurrent layers",
    "layers": "Layers",
    "operations": "TensorFlow operations",
    "forms": "Forms of releases",
    "refused": "Refused with the reason",
}
_HEAD = (
    "| model | opset | seconds | peak MB | nodes | FP32 error | noise | RTX | FP16 error | RTX FP16 |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)
_REFUSED_HEAD = "| model | error | found |\n|---|---|---|"
_FOUND = 160


def surprise(model: ZooModel, row: dict[str, Any]) -> str | None:
    """Return in what `row` is not what the table of models promises; None where it is."""
    error = row.get("error")
    if model.refused:
        outcome = "nothing" if error is None else f"{error['class']}: {error['found']}"
        right = error is not None and error["class"] == model.refused
        named = error is not None and model.reason in f"{error['wanted']} {error['found']} {error['fix']}"
        return None if right and named else f"wanted {model.refused} for {model.reason}, found {outcome}"
    if error is not None:
        return f"{error['step']}: {error['class']}: {error['found']}"
    for precision in (key for key in ("fp32", "fp16") if key in row):
        figures = row[precision]
        if figures["verdict"] != "passed":
            return f"{precision} {figures['verdict']}: {figures['reason']}"
        if figures["builds"] == bool(model.no_engine):
            return f"{precision} on TensorRT-RTX: {figures.get('build_error', 'builds')}"
        if model.no_engine not in figures.get("build_error", ""):
            return f"{precision} on TensorRT-RTX: {figures['build_error']}"
    return None


@dataclass(slots=True)
class Results:
    """The rows so far, in a file that is whole at any moment."""

    path: Path
    document: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, path: Path, bench: Bench) -> Results:
        """Return the results in `path` with the rows of earlier runs, which new ones replace."""
        earlier = json.loads(path.read_text("utf-8"))["rows"] if path.exists() else []
        rows = {row["model"]: row for row in earlier if row["model"] in MODELS}
        document = {
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "python": platform.python_version(),
            "tools": conversion_tools(),
            "tensorrt_rtx": str(bench.target.version),
            "compute": str(bench.target.compute_capabilities[0]),
        }
        return cls(path, document, rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep `row`, say how it came out, and write the file."""
        with self._lock:
            self.rows[row["model"]] = row | {"date": self.document["date"]}
            self._write()
            wrong = surprise(MODELS[row["model"]], row)
            seconds = sum(row["seconds"].values())
            sys.stdout.write(f"{row['model']}: {wrong or 'as it must be'} ({seconds:.0f} s)\n")
            sys.stdout.flush()

    def finish(self, *, workers: int, seconds: float) -> None:
        """Write both files for the last time."""
        self.document |= {"workers": workers, "seconds": round(seconds)}
        self._write()
        self.path.with_suffix(".md").write_text(markdown(self.document, self.rows), "utf-8")

    def summary(self) -> str:
        """Return how many rows there are, and those that are not what they must be."""
        wrong = {name: text for name, row in self.rows.items() if (text := surprise(MODELS[name], row))}
        lines = [f"{len(self.rows) - len(wrong)} of {len(self.rows)} as they must be"]
        return "\n".join([*lines, *(f"{name}: {text}" for name, text in wrong.items()), ""])

    def _write(self) -> None:
        rows = [self.rows[name] for name in MODELS if name in self.rows]
        part = self.path.with_suffix(".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(self.document | {"rows": rows}, indent=1) + "\n", "utf-8")
        part.replace(self.path)


def markdown(document: dict[str, Any], rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as tables, one for each family."""
    tools = ", ".join(f"{name} {document['tools'][name]}" for name in ("tensorflow-cpu", "tf2onnx", "onnx"))
    lines = [
        "# What converts, matches and builds",
        "",
        f"Written by `tests/zoo/run.py` on {document['date']}: {tools},",
        f"TensorRT-RTX {document['tensorrt_rtx']} for {document['compute']}, Python {document['python']}.",
        "",
        "Seconds: preflight to the verified FP32 graph, TensorFlow's answers at three shapes included, on",
        "two processors. Peak MB: the largest of the processes from planning to lowering.",
        "Error and noise: relative to the largest output, at the worst shape.",
        "RTX: whether TensorRT-RTX builds an engine.",
        *_earlier(document, rows),
    ]
    for builder, title in _FAMILIES.items():
        names = [name for name, model in MODELS.items() if model.builder == builder and name in rows]
        taken = [name for name in names if not MODELS[name].refused]
        refused = [name for name in names if MODELS[name].refused]
        if taken:
            lines += ["", f"## {title}", "", _HEAD, *(_line(rows[name]) for name in sorted(taken))]
        if refused:
            lines += ["", f"## {title}, refused" if taken else f"## {title}", "", _REFUSED_HEAD]
            lines += [_refused_line(rows[name]) for name in refused]
    return "\n".join([*lines, ""])


def _earlier(document: dict[str, Any], rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return which rows are of an earlier day than the table's head, and so of earlier code."""
    days: dict[str, list[str]] = {}
    for name, row in rows.items():
        days.setdefault(row["date"], []).append(name)
    return [
        line
        for day in sorted(days.keys() - {document["date"]})
        for line in ("", f"Not run again since {day}: {', '.join(sorted(days[day]))}.")
    ]


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"| {row['model']} | {row['error']['class']} | | | | | | | | |"
    seconds = sum(
        row["seconds"][step] for step in ("preflight", "export", "convert", "lower fp32", "compare fp32")
    )
    full, half = row["fp32"], row.get("fp16")
    return (
        f"| {row['model']} | {row['opset']} | {seconds:.1f} | {row['peak_mib'] * 1.048576:.0f} "
        f"| {row['nodes']} | {_error(full)} | {full['noise']:.0e} | {_yes(full)} "
        f"| {_error(half)} | {_yes(half)} |"
    )


def _error(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    verdict = "" if figures["verdict"] == "passed" else f" {figures['verdict']}"
    return f"{figures['error']:.0e}{verdict}"


def _yes(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    return "yes" if figures["builds"] else "no"


def _refused_line(row: dict[str, Any]) -> str:
    error = row.get("error", {"class": "none", "found": ""})
    text = " ".join(error["found"].split()).replace("|", "\\|")
    return f"| {row['model']} | {error['class']} | {text[:_FOUND]} |"
