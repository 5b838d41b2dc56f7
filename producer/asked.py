"""The files that say how a run's prompts and answers look, its template and its schema: read, and checked before it starts."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import ConfigError


def template(path: Path | None, name: str) -> str | None:
    """A template's text; ConfigError, which calls it `name`, for a file that is missing or nonsense."""
    text = _text(path, name)
    if text is not None:
        from pipelines.rendering import compile_template

        compile_template(text, f"{name} {path}")
    return text


def schema(path: Path | None, name: str) -> str | None:
    """The same of a JSON Schema."""
    text = _text(path, name)
    if text is not None:
        from pipelines.quality import compile_schema

        try:
            compile_schema(text)
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{name} {path}: {error}") from None
    return text


def _text(path: Path | None, name: str) -> str | None:
    if path is None:
        return None
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name} {path}: cannot be read ({error.strerror}); name an existing file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} {path}: is not UTF-8; save the file as UTF-8") from None
