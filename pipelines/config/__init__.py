"""The sections of spillway.toml as checked values, and what is wrong with one; settings.py, one floor up, reads the file."""
