"""How two prompts are read and compared: what each says, what differs, and why a difference is harmless.

dedup.py, one floor up, asks; guards.py names what forbids.
"""
