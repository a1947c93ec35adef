"""What a run's page in Prefect's UI shows."""
