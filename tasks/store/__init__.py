"""S3: releases come from it, blobs and records go to it. Nothing is handed on before its digest is checked.

The record is the commit: bytes are stored first under their digest, and one conditional write of the
record makes them an engine. Works with every S3 server that honours `If-None-Match: *`.
"""
