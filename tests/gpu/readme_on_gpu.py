"""From a model to a running engine as tasks/README.md shows it, on a machine with the GPU that it names.

    python tests/gpu/readme_on_gpu.py --toolchain PYTHON --output FOLDER

PYTHON is an interpreter with TensorRT and pycuda. Writes `readme.json`: what each step printed, and the
largest difference between the engine's scores and the Keras model's own for the same input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.cli.demo import demo_world
from tasks.store.s3 import s3_client
from tests.support.readme_steps import COMMANDS, ROOT, readme_steps

_BUCKET = "my-bucket"
# The network is drawn anew each time, so its own answer is taken from what was saved.
_KERAS = """
import json, tensorflow as tf
serve = tf.saved_model.load("two-layers/saved_model").signatures["serving_default"]
(scores,) = serve(x=tf.ones((1, 32))).values()
print(json.dumps(scores.numpy().tolist()))
"""
_ENGINE = """
import json, numpy as np
from tasks.tensorrt.runner import Engine
with Engine.open("two-layers.plan") as engine:
    print(json.dumps(engine.run({"x": np.ones((1, 32), np.float32)})["output_0"].tolist()))
"""


def examine(toolchain: str, folder: Path) -> dict[str, Any]:
    """Go through the steps."""
    run = readme_steps(folder, _BUCKET)
    inside = {"PYTHONPATH": str(ROOT), "EXTRA_PYTHONPATH": str(ROOT)}
    run(sys.executable, "two_layers.py")
    output = run("sh", "-ec", COMMANDS, ENGINEFARM_TOOLCHAINS=toolchain)
    (keras,) = json.loads(run(sys.executable, "-c", _KERAS))
    (engine,) = json.loads(run(toolchain, "-c", _ENGINE, **inside).splitlines()[-1])
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commands": [line for line in output.splitlines() if line.isascii()],
        "run_once.py": run(toolchain, "run_once.py", **inside).splitlines(),
        "serve.py": run(toolchain, "serve.py", **inside).splitlines(),
        "largest difference": max(abs(score - other) for score, other in zip(keras, engine, strict=True)),
        "largest score": max(map(abs, keras)),
    }


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with demo_world(), tempfile.TemporaryDirectory() as folder:
        del os.environ["ENGINEFARM_STORE"]
        s3_client().create_bucket(Bucket=_BUCKET)
        figures = examine(options.toolchain, Path(folder))
    text = json.dumps(figures, indent=1) + "\n"
    (options.output / "readme.json").write_text(text, "utf-8")
    sys.stdout.write(text)
    served = [f"{batch} ({batch}, 10) float32" for batch in (1, 2, 3, 4)]
    sys.exit(0 if figures["serve.py"] == served and figures["largest difference"] < 1e-5 else 1)


if __name__ == "__main__":
    main()
