"""The farm's terms as values: targets, requests, releases, records and errors.

Standard library only, and no I/O. Every value is a frozen dataclass: hosts can hash and compare it, write it
as JSON and exchange it.
"""
