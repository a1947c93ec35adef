"""S3: the source of releases, and the store of blobs and records. Every digest is checked before use.

The record is the commit. Bytes are stored first, under their digest; one conditional write of the record then
makes them an engine. Works with every S3 server that honours `If-None-Match: *`.
"""
