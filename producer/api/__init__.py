"""The HTTP server: OpenAI's Files and Batches, clients and health. `app.py` puts it together."""
