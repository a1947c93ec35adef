"""Whether TensorRT lives beside a pycuda that is imported before it, on a machine with an NVIDIA GPU.

    python tests/gpu/import_order_on_gpu.py --toolchain PYTHON --output FOLDER

Each case is a process of its own that reads a plan after its imports, or makes a builder before it.
Writes `import_order.json`: for each case its status (-11: SIGSEGV) and the last thing that worked.
Status 1 where a case with the shared C++ library first does not read the plan.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_PLAN = """
import sys
import tensorrt as trt
builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
network = builder.create_network(1)
layer = network.add_activation(network.add_input("x", trt.float32, (4, 4)), trt.ActivationType.RELU)
network.mark_output(layer.get_output(0))
plan = builder.build_serialized_network(network, builder.create_builder_config())
open(sys.argv[1], "wb").write(bytes(memoryview(plan)))
"""
_CPP, _PYCUDA, _TENSORRT = (
    "import ctypes; ctypes.CDLL('libstdc++.so.6')",
    "import pycuda.autoinit",
    "import tensorrt",
)
_BUILDER = "builder = tensorrt.Builder(tensorrt.Logger()); print('builder', flush=True)"
_READ = """
import sys
engine = tensorrt.Runtime(tensorrt.Logger()).deserialize_cuda_engine(open(sys.argv[1], "rb").read())
print("engine", flush=True)
del engine
"""
_CASES = {
    "TensorRT alone": (_TENSORRT,),
    "pycuda, TensorRT": (_PYCUDA, _TENSORRT),
    "C++ library, pycuda, TensorRT": (_CPP, _PYCUDA, _TENSORRT),
    "TensorRT, pycuda": (_TENSORRT, _PYCUDA),
    "pycuda, TensorRT, a builder": (_PYCUDA, _TENSORRT, _BUILDER),
    "C++ library, pycuda, TensorRT, a builder": (_CPP, _PYCUDA, _TENSORRT, _BUILDER),
    "TensorRT, pycuda, a builder": (_TENSORRT, _PYCUDA, _BUILDER),
}


def examine(interpreter: str) -> dict[str, dict[str, object]]:
    """Run each case."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "small.plan"
        subprocess.run([interpreter, "-c", _PLAN, str(plan)], check=True)
        cases = {}
        for name, lines in _CASES.items():
            command = [interpreter, "-c", "\n".join((*lines, _READ)), str(plan)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = [line for line in done.stdout.splitlines() if line in {"builder", "engine"}]
            cases[name] = {"status": done.returncode, "reached": (said or ["imports"])[-1]}
    return cases


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    cases = examine(options.toolchain)
    text = json.dumps(cases, indent=1) + "\n"
    (options.output / "import_order.json").write_text(text, "utf-8")
    sys.stdout.write(text)
    sys.exit(0 if all(case["reached"] == "engine" for name, case in cases.items() if "C++" in name) else 1)


if __name__ == "__main__":
    main()
