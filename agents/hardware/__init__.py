"""What a host has: its GPUs, its interpreters, who uses which GPU."""
