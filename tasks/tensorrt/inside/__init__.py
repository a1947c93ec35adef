"""What runs inside a toolchain's interpreter: NumPy, TensorRT, and pycuda where an engine is run.

Keeps to Python 3.10 and imports nothing of the farm but `tasks.domain.errors`, `tasks.domain.statistics`,
`tasks.children.arrays`, `tasks.children.compare` and `tasks.children.reference`. TensorRT itself is handed
around as the argument `trt`: which module it is comes with the request.

Objects of TensorRT always have the same names here (`builder`, `network`, `config`, `parser`, `profile`,
`tensor`, `layer`, `error`, `runtime`, `engine`, `context`, `inspector`), so that a test can hold every
attribute that is touched against the interfaces of the TensorRT versions that the farm serves.
"""
