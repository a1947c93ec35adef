"""What a machine that needs an engine runs: it resolves, fetches, verifies and opens.

It is also the distribution `enginefarm-client` (`infra/client`): Python 3.10, with boto3 and cryptography.
"""
