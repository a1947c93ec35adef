"""What agents say to and read from Prefect's server."""
