"""Every error that ends a command or a process; the failure of one prompt is a value, never one of these.

SpillwayError                 base: one line that says what is wrong, where, and what to do
├── ConfigError               spillway.toml, environment or options are wrong (exit 2)
├── SourceError               a source cannot be read at all, or changed since intake (exit 2)
│   └── NothingMatches        a pattern names no file: a schedule waits, a command says so
├── UsageError                the command makes no sense here, e.g. an unknown run id (exit 2)
├── StoreError                the data root cannot be read or written: full disk, permission (exit 1)
│   └── Missing               a file of it is not there
├── QueueError                Redis cannot be reached or refuses (exit 2 when it never answered)
└── LeaseLost                 another process holds what we thought was ours; the work goes on there
"""


class SpillwayError(Exception):
    """Base of the tree; `exit_code` is what the program ends with."""

    exit_code = 1


class ConfigError(SpillwayError):
    """The configuration is wrong: names the key, the line and the remedy."""

    exit_code = 2


class SourceError(SpillwayError):
    """A source cannot be read at all, or is not what it was at intake."""

    exit_code = 2


class NothingMatches(SourceError):
    """A pattern names no file."""


class UsageError(SpillwayError):
    """The command cannot be done as asked."""

    exit_code = 2


class StoreError(SpillwayError):
    """The data root cannot be read or written."""


class Missing(StoreError, FileNotFoundError):
    """A file of the data root is not there."""


class QueueError(SpillwayError):
    """Redis cannot be reached, or is not fit for use."""

    exit_code = 2


class LeaseLost(SpillwayError):
    """Someone else holds the lease: stop, publish nothing."""
