"""PLAN: a snapshot of batches and targets, pipelines/plan.py's moves applied, and what was forgotten healed."""
