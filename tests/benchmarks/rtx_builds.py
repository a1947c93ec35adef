"""Ends with status 0 if TensorRT-RTX builds a graph for compute capability 8.9, with a batch of 1 to 8.

python tests/benchmarks/rtx_builds.py GRAPH
"""

import sys

import tensorrt_rtx as trt

builder = trt.Builder(logger := trt.Logger(trt.Logger.ERROR))
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
if not parser.parse_from_file(sys.argv[1]):
    sys.exit(parser.get_error(0).desc())
config, profile = builder.create_builder_config(), builder.create_optimization_profile()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
for value in map(network.get_input, range(network.num_inputs)):
    low, high = ([size if dim < 0 else dim for dim in value.shape] for size in (1, 8))
    profile.set_shape(value.name, low, high, high)
config.add_optimization_profile(profile)
if builder.build_serialized_network(network, config) is None:
    sys.exit("no engine")
