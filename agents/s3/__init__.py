"""Releases that are uploaded to S3 start their own builds."""
