"""READ: the rows of a run's files, one at a time from a cursor, in constant memory."""
