"""Child processes. TensorFlow and TensorRT run in them: both crash, leak, and must not see credentials.

`run.run_child` starts a child; its interpreter runs `entry.py` first.
"""
