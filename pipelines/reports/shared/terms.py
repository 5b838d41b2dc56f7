"""Whose invoice, for which month and by which plan: what an invoice needs beside results and ledger."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.config.sections import Client


class Terms(NamedTuple):
    """`month` is written YYYY-MM and begins in `timezone`; `plan` is the client's section of the configuration."""

    client: str = "default"
    month: str = ""
    timezone: str = "UTC"
    plan: Client = Client()
