"""A farm on one machine: servers, agents and their processes."""
