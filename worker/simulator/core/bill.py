"""What the stand-in vendors charge: one line per billed call and its totals, in integer pico-dollars.

It shares nothing with Spillway's ledger, so that each can prove the other wrong.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import msgspec

from pipelines.errors import ConfigError
from worker.simulator.core.config import ServerConfig, pusd_per_token

_KEY_CHARS = 24


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer; input includes cached and written ones, output includes reasoning."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class BilledCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of the bill. `call` is the request's x-spillway-call header; `outcome` is `ok` or the fault's name."""

    id: str
    time: float
    server: str
    model: str
    prompt_hash: str
    key: str
    call: str | None = None
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_pusd: int
    delivered: bool
    outcome: str
    batch: str | None = None


class Sums(msgspec.Struct):
    """Totals of the billed calls of one server, model or key."""

    answered: int = 0
    delivered: int = 0
    lost: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_pusd: int = 0

    def add(self, call: BilledCall) -> None:
        self.answered += 1
        self.delivered += call.delivered
        self.lost += not call.delivered
        self.input_tokens += call.input_tokens
        self.cached_tokens += call.cached_tokens
        self.output_tokens += call.output_tokens
        self.reasoning_tokens += call.reasoning_tokens
        self.cost_pusd += call.cost_pusd


class Account(Sums):
    """One server's bill; `calls` counts every generation request and `outcomes` how each ended."""

    calls: int = 0
    rejected: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    by_model: dict[str, Sums] = {}
    by_key: dict[str, Sums] = {}


class Bill:
    """The accounts of all servers and the lines behind them; with a file it outlives the process."""

    def __init__(self, file: str | None = None) -> None:
        self.accounts: dict[str, Account] = {}
        self._path = Path(file) if file else None
        self._lines: IO[bytes] = self._opened()

    def account(self, server: str) -> Account:
        return self.accounts.setdefault(server, Account())

    def charge(self, call: BilledCall) -> None:
        """Books one call. Its line is with the operating system before this returns when the bill has a file."""
        self._add(call)
        self._lines.write(msgspec.json.encode(call) + b"\n")

    def refuse(self, server: str, outcome: str) -> None:
        """Counts a request that was not billed."""
        account = self.account(server)
        account.rejected += 1
        account.outcomes[outcome] += 1

    def lines(self) -> bytes:
        """Every billed call as JSONL."""
        self._lines.flush()
        self._lines.seek(0)
        try:
            return self._lines.read()
        finally:
            self._lines.seek(0, os.SEEK_END)

    def calls(self) -> Iterator[BilledCall]:
        decoder = msgspec.json.Decoder(BilledCall)
        for line in self.lines().splitlines():
            yield decoder.decode(line)

    def reset(self) -> None:
        """Forgets everything, the file's content included."""
        self.accounts.clear()
        self._lines.seek(0)
        self._lines.truncate()

    def close(self) -> None:
        self._lines.close()

    def _opened(self) -> IO[bytes]:
        if self._path is None:
            return tempfile.TemporaryFile()
        try:
            lines: IO[bytes] = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise ConfigError(f"bill_file {self._path}: cannot be opened ({error.strerror}); name another") from None
        lines.seek(0)
        for line in lines.read().splitlines():
            try:
                call = msgspec.json.decode(line, type=BilledCall)
            except msgspec.DecodeError:
                raise ConfigError(f"bill_file {self._path}: is not a bill; name another file") from None
            self._add(call)
            self.account(call.server).calls += 1
        return lines

    def _add(self, call: BilledCall) -> None:
        account = self.account(call.server)
        account.outcomes[call.outcome] += 1
        account.add(call)
        account.by_model.setdefault(call.model, Sums()).add(call)
        account.by_key.setdefault(call.key, Sums()).add(call)


def cost_pusd(config: ServerConfig, usage: Usage, *, batch: bool = False) -> int:
    """What a call costs: exact, halves of a pico-dollar up."""
    price_in = pusd_per_token(config.usd_per_mtok_in)
    cached, written = config.usd_per_mtok_cached, config.usd_per_mtok_cache_write
    plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    total: int | Fraction = plain * price_in + usage.output_tokens * pusd_per_token(config.usd_per_mtok_out)
    total += usage.cached_tokens * (price_in if cached is None else pusd_per_token(cached))
    total += usage.cache_write_tokens * (price_in if written is None else pusd_per_token(written))
    if batch:
        total *= 1 - Fraction(repr(config.batch_discount))
    return total if isinstance(total, int) else math.floor(total + Fraction(1, 2))


def shown_key(key: str) -> str:
    """A client's key as the bill names it: test keys whole, a real one (they are longer) by its head alone."""
    return key if len(key) <= _KEY_CHARS else f"{key[:8]}…"
