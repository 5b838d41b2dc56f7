"""The HTTP server: OpenAI's Files, Batches and chat, Anthropic's Message Batches, runs, clients and health. `app.py` puts it together."""
