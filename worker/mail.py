"""The mail of an alert: one letter for an event, one try to send it; when and how often is hooks.py's matter."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

from pipelines import wire
from pipelines.config.sections import Smtp
from pipelines.hooks import Notice

STEP_S, TRY_S = 8.0, 20.0
"""For each answer of the server, and for all of a try: less than a notice is kept from others while it is tried."""
SMTP_OVER_TLS = 465


async def send(smtp: Smtp, told: Notice) -> str:
    """What went wrong; empty when the server has taken the mail."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(_send, smtp, letter(smtp, told)), TRY_S)
    except TimeoutError:
        return f"not taken within {TRY_S:g} s"


def letter(smtp: Smtp, told: Notice) -> EmailMessage:
    """The mail for an event. Its id is the notice's, so that one which is sent twice is one mail to those who look."""
    event: Mapping[str, Any] = wire.load_object(told.body)
    mail = EmailMessage()
    mail["Subject"] = f"Spillway: {str(event.get('message')).partition(';')[0]}"
    mail["From"] = smtp.sender
    mail["To"] = ", ".join(smtp.to)
    mail["Message-ID"] = f"<{told.id}@spillway>"
    lines = [
        str(event.get("message")),
        "",
        f"scope: {event.get('scope')}",
        f"day: {event.get('day')}",
        f"spent: {event.get('spent_usd')} USD",
    ]
    if event.get("limit_usd") is not None:
        lines.append(f"limit: {event['limit_usd']} USD")
    mail.set_content("\n".join(lines) + "\n")
    return mail


def _send(smtp: Smtp, mail: EmailMessage) -> str:
    kind = smtplib.SMTP_SSL if smtp.port == SMTP_OVER_TLS else smtplib.SMTP
    try:
        with kind(smtp.host, smtp.port, timeout=STEP_S) as server:
            if smtp.starttls and kind is smtplib.SMTP:
                server.starttls(context=ssl.create_default_context())
            if smtp.user:
                server.login(smtp.user, smtp.secret or "")
            server.send_message(mail)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        said = " ".join((str(error) or type(error).__name__).split())[:300]
        return said.replace(smtp.secret, "[password]") if smtp.secret else said
    return ""
