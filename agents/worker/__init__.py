"""A Prefect worker of ours: takes runs of one pool and reports how they end."""
