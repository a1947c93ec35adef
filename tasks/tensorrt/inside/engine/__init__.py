"""An engine at work: opened, checked, bound to buffers, run."""
