"""INTAKE: files become runs in Redis; nothing is answered here."""
