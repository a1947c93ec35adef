"""The farm as Prefect's server knows it: deployments, automations, runs, logs."""
