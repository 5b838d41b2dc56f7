"""DRAIN: a batch on its lane: slots and rates in blocks, calls, and a journal of what happened."""
