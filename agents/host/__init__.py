"""The agent on a host: probes it, and keeps one worker running in each slot."""
