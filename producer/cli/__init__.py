"""The `spillway` program: one file per group of commands. Here alone errors become one line and an exit code."""

from __future__ import annotations

import os
import sys

from pipelines.errors import SpillwayError
from pipelines.printable import one_line
from worker import children

INTERRUPTED = 130
DEMO = "demo"
"""What `--simulate` means when it names no scenario."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code (README)."""
    arguments = _with_optional_values(list(sys.argv[1:] if argv is None else argv))
    try:
        if arguments[:1] == ["run"] and not {"--help", "--redis"} & set(arguments):
            children.warm()  # most runs need them, and they take as long to load as what follows here
        if arguments[:1] == ["worker"] and not {"--help", "--roles"} & set(arguments):
            children.warm(heard=True)
        from producer.cli.app import app  # in here: Ctrl-C while it loads is an interruption like any other

        code = app(arguments, prog_name="spillway", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _fail(error)
    finally:
        children.discard()


def _with_optional_values(arguments: list[str]) -> list[str]:
    """`--simulate` alone stands for `--simulate=demo`; its value is never the next word."""
    ours = arguments.index("--") if "--" in arguments else len(arguments)
    return [f"--simulate={DEMO}" if at < ours and word == "--simulate" else word for at, word in enumerate(arguments)]


def _fail(error: Exception) -> int:
    """One line that says what is wrong, and the code to end with."""
    if isinstance(error, SpillwayError):
        return _say(str(error), error.exit_code)
    if hasattr(error, "format_message"):  # the command line's own mistakes, whichever version of Typer raised them
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":  # the help itself, as it was laid out
            print(error.format_message(), file=sys.stderr)
            return 2
        command = context.command_path if context else "spillway"
        return _say(f"{error.format_message().rstrip('.')}; see `{command} --help`", 2)
    detail = str(error) or type(error).__name__
    return _say(f"internal error: {type(error).__name__}: {detail}; run it again with --debug to see where", 1)


def _say(message: str, code: int) -> int:
    line = one_line(f"spillway: {message}")
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print(f"\x1b[31m{line}\x1b[0m" if colour else line, file=sys.stderr)
    return code
