"""What can be configured of buckets, one file a kind."""
