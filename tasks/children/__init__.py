"""Child processes: TensorFlow and TensorRT crash, leak and must not see credentials, so they run here.

`run.run_child` starts one; `entry.py` is what the child's interpreter runs first.
"""
