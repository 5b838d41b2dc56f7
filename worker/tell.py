"""Tells people of an event: log, mail and a row under events/. It never holds up the work, nor decides; webhooks are hooks.py's."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import smtplib
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from email.message import EmailMessage

from pipelines import paths
from pipelines.budgets import Event, usd
from pipelines.errors import StoreError
from pipelines.sections import Smtp
from worker.context import Context

log = logging.getLogger("spillway.alerts")

MAIL_S = 10.0
TRIES, FIRST_PAUSE_S = 3, 1.0
SMTP_OVER_TLS = 465
Way = Callable[[], Awaitable[str]]
"""One try of a delivery: what went wrong, empty when it is done."""


class Teller:
    """Deliveries under way; `finish` waits a little for them when the process ends."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._under_way: set[asyncio.Task[None]] = set()

    def tell(self, event: Event) -> None:
        """Starts every delivery that is configured; returns at once."""
        log.warning("%s", event.message)
        own = self._context.settings.clients.get(event.scope.client or "")
        everybody = self._context.settings.budget
        smtp = (own.budget.smtp if own else None) or everybody.smtp
        self._start(self._row(event))
        if smtp:
            self._start(_deliver(f"mail by {smtp.host}:{smtp.port}", lambda: _mail(smtp, event)))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def finish(self, seconds: float) -> None:
        """Waits for deliveries that are under way, no longer than this."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=seconds)

    async def _row(self, event: Event) -> None:
        try:
            await asyncio.to_thread(_write_row, self._context, event)
        except (StoreError, OSError) as error:
            log.error("event not written: %s", error)


async def _deliver(what: str, way: Way) -> None:
    for tried in range(1, TRIES + 1):
        problem = await way()
        if not problem:
            return
        log.warning("%s: %s (try %d of %d)", what, problem, tried, TRIES)
        if tried < TRIES:
            await asyncio.sleep(FIRST_PAUSE_S * 2 ** (tried - 1))


async def _mail(smtp: Smtp, event: Event) -> str:
    return await asyncio.to_thread(_send, smtp, letter(smtp, event))


def letter(smtp: Smtp, event: Event) -> EmailMessage:
    """The mail for an event."""
    mail = EmailMessage()
    mail["Subject"] = f"Spillway: {event.message.partition(';')[0]}"
    mail["From"] = smtp.sender
    mail["To"] = ", ".join(smtp.to)
    limit = event.scope.limit_nusd
    lines = [
        event.message,
        "",
        f"scope: {event.scope.name}",
        f"day: {event.day}",
        f"spent: {usd(event.scope.spent_nusd)} USD",
    ]
    if limit is not None:
        lines.append(f"limit: {usd(limit)} USD")
    mail.set_content("\n".join(lines) + "\n")
    return mail


def _send(smtp: Smtp, mail: EmailMessage) -> str:
    kind = smtplib.SMTP_SSL if smtp.port == SMTP_OVER_TLS else smtplib.SMTP
    try:
        with kind(smtp.host, smtp.port, timeout=MAIL_S) as server:
            if smtp.starttls and kind is smtplib.SMTP:
                server.starttls(context=ssl.create_default_context())
            if smtp.user:
                server.login(smtp.user, smtp.secret or "")
            server.send_message(mail)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        said = " ".join((str(error) or type(error).__name__).split())[:300]
        return said.replace(smtp.secret, "[password]") if smtp.secret else said
    return ""


def _write_row(context: Context, event: Event) -> None:
    import pyarrow as pa

    from pipelines import schemas
    from pipelines.money import PUSD_PER_NUSD, pusd_to_usd

    at, scope = datetime.fromtimestamp(event.at_us / 1e6, UTC), event.scope
    name = f"{event.kind}-{hashlib.blake2b(f'{event.day} {scope.name}'.encode(), digest_size=8).hexdigest()}"
    limit = None if scope.limit_nusd is None else pusd_to_usd(scope.limit_nusd * PUSD_PER_NUSD)
    row = {
        "event_id": name, "at": at, "kind": event.kind, "day": date.fromisoformat(event.day), "scope": scope.name,
        "client": scope.client, "run_id": scope.run_id, "target": None, "limit_usd": limit,
        "spent_usd": pusd_to_usd(scope.spent_nusd * PUSD_PER_NUSD),
        "reserved_usd": pusd_to_usd(scope.reserved_nusd * PUSD_PER_NUSD), "message": event.message,
    }  # fmt: skip
    table = pa.Table.from_pylist([row], schema=schemas.EVENTS)
    context.store.write_table(paths.events_part(at.date().isoformat(), name), table)
