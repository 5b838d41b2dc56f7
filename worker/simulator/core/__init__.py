"""The machinery that every personality stands on: HTTP, service time, faults, answers and the bill."""
