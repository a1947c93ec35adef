"""Code that runs inside a toolchain's interpreter, with NumPy, TensorRT, and pycuda to run engines.

Keeps to Python 3.10 and imports nothing of the farm but `tasks.domain.errors`, `tasks.domain.statistics`,
`tasks.children.arrays`, `tasks.children.compare` and `tasks.children.reference`. TensorRT itself is passed as
the argument `trt`, because the request says which module it is.

Objects of TensorRT always have the same names here (`builder`, `network`, `config`, `parser`, `profile`,
`tensor`, `layer`, `error`, `runtime`, `engine`, `context`, `inspector`), so that a test can check every used
attribute against the interfaces of the TensorRT versions that the farm supports.
"""
