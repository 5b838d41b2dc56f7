"""DRAIN: runs in Redis become answers in Parquet."""
