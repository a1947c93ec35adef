"""Orchestration: Prefect flows and the command line."""

from flows.clean_logs import keep_logs_clean, keep_tracebacks_apart

keep_logs_clean()
keep_tracebacks_apart()
