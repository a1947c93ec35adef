"""Storage in S3: releases to read, blobs by digest, and records whose conditional PUT is the commit."""
