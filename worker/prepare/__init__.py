"""PREPARE: the next chunk of a source becomes batches, committed exactly once; also what comes back to be asked again."""
