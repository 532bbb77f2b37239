"""Where a model folder comes from: a path, a bucket or the hub, and the cache on this machine."""
