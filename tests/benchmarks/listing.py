"""Measures `enginefarm engines list`: time, memory and requests, for a store of so many records.

    python tests/benchmarks/listing.py [--records 4000]

The store is in moto's server, a Python process on the same machine, which spends more on each request than
the command does. Each run is a fresh process. The requests are counted in a further run, through a proxy.
Writes its figures to `results/listing.json`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from flows.local.s3 import embedded_s3, environment_for
from tasks.store.s3 import s3_client
from tests.support.farm.gate import gate_to

_RECORD = Path(__file__).parents[1] / "assets" / "engine-record.json"
_RESULTS = Path(__file__).parent / "results" / "listing.json"
_BUCKET, _VERSIONS = "listing", 20
_RUNS = 3


def fill(records: int) -> int:
    """Write so many records, of models with 20 versions each; return the size of all."""
    client = s3_client()
    client.create_bucket(Bucket=_BUCKET)
    document = json.loads(_RECORD.read_bytes())
    document.pop("opset", None)  # an older record: its key is not recomputed, so any digest fits

    def put(number: int) -> int:
        digest = f"{number:064x}"[::-1]
        model, version = f"model{number // _VERSIONS:04}", str(number % _VERSIONS)
        place = document["key"].split("/")[3:5]
        precision = document["options"]["precision"]
        key = "/".join(("engines", model, version, *place, f"{precision}-{digest[:12]}.json"))
        ref = document["release"]["ref"] | {"model": model, "version": version}
        release = document["release"] | {"ref": ref}
        changed = {"key": key, "build_key": digest, "model": model, "version": version, "release": release}
        body = json.dumps(document | changed).encode()
        client.put_object(Bucket=_BUCKET, Key=key, Body=body)
        return len(body)

    with ThreadPoolExecutor(8) as threads:
        return sum(threads.map(put, range(records)))


def run(form: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """List everything in a process of its own; return what it took."""
    command = [sys.executable, "-m", "flows.cli.entry", "engines", "list", "--store", f"s3://{_BUCKET}", form]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(environment)) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        to_first = time.monotonic() - started
        lines = (first + process.stdout.read()).count(b"\n")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return {
        "seconds": round(time.monotonic() - started, 1),
        "to first byte": round(to_first, 1),
        "processor seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "MiB": round(usage.ru_maxrss / 1024),
        "lines": lines,
    }


def requests(form: str, url: str, environment: Mapping[str, str]) -> dict[str, int]:
    """Return how many requests of each kind a listing makes."""
    with gate_to(url) as gate:
        run(form, {**environment, "AWS_ENDPOINT_URL": gate.url})
        kinds: Counter[str] = Counter()
        for request, number in gate.requests.items():
            kinds["LIST" if "list-type" in request else request.split()[0]] += number
    return dict(kinds)


def main() -> None:
    """Measure, print and keep the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=4000)
    records = options.parse_args().records
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    figures: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "records": records,
    }
    with embedded_s3() as url:
        environment = {**os.environ, **environment_for(url)}
        with patch.dict(os.environ, environment):
            figures["bytes of all records"] = fill(records)
        for form in ("--wide", "--json"):
            runs = [run(form, environment) for _ in range(_RUNS)]
            figures[form] = {name: median(each[name] for each in runs) for name in runs[0]}
            figures[form]["requests"] = requests(form, url, environment)
            sys.stdout.write(f"{form} {figures[form]}\n")
    _RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
