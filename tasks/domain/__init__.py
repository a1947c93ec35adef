"""What the farm speaks about: targets, requests, releases, records and errors.

Standard library only, and no input or output: every value here is a frozen dataclass that can be
hashed, compared, written as JSON and passed between hosts.
"""
