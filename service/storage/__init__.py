"""Where pictures and videos live: one small protocol, a local folder and any S3-compatible server."""
