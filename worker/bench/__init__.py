"""Looks at servers, tries them, and measures their models: what they say, speed, and quality by tasks."""
