"""The farm's Prefect worker: takes runs from one pool and reports how they end."""
