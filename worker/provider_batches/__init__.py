"""PROVIDER BATCHES: the asynchronous lane: orders with providers' batch APIs, tagged, adopted after a crash, read back by id."""
