"""Requests and answers in the shapes of OpenAI, Anthropic and others, as ours and back; nothing is sent here."""
