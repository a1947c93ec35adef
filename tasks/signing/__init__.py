"""Signatures: the only package that uses `cryptography`. Consumers use it, too: Python 3.10."""
