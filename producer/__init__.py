"""INTAKE: files, HTTP submissions and schedules become runs in Redis; nothing is answered here."""
