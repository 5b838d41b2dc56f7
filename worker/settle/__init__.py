"""SETTLE: journals become result and cost parts, followers get their leader's answer, a run's end becomes its files."""
