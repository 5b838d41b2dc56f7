"""What webhooks and mails tell, and how a webhook is signed (Standard Webhooks); pure, nothing is sent here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
PAUSES_S = (1, 5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 36_000)
"""How long after each try that failed the next one comes; about 28 hours in all."""
KEPT_S = 3 * 86_400
"""How long Redis remembers a notice, delivered or not: until then it is not made again."""


UNSIGNED = "webhook_secret is missing or not `whsec_` and base64 of 24 to 64 bytes"


class Notice(msgspec.Struct, frozen=True):
    """One message; its id is made of what happened, so that what is told twice is one message."""

    id: str
    client: str
    kind: str  # batch.completed, run.failed, budget.alert …
    body: str  # JSON, as it is signed and sent
    to: str = (
        "client"  # or operator, mail: the webhook or the mail server of the budgets, the client's own or everybody's
    )


def notice(client: str, kind: str, subject: str, at_ms: int, data: Mapping[str, Any]) -> Notice:
    """`subject` says which event of this kind it is."""
    id_ = _id(client, kind, subject)
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    body = {
        "id": id_, "object": "event", "type": kind, "created_at": at_ms // 1000,
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}", "data": data,
    }  # fmt: skip
    return Notice(id_, client, kind, msgspec.json.encode(body).decode())


def alert(client: str, kind: str, subject: str, data: Mapping[str, Any]) -> Notice:
    """What the operator is told of, `client` if it is one's alone: `data` as it is, with an id of its own."""
    return Notice(_id("", kind, subject), client, kind, msgspec.json.encode(data).decode(), "operator")


def mail(client: str, kind: str, subject: str, data: Mapping[str, Any]) -> Notice:
    """The same by mail."""
    return Notice(_id("", f"mail {kind}", subject), client, kind, msgspec.json.encode(data).decode(), "mail")


def _id(client: str, kind: str, subject: str) -> str:
    return f"msg_{hashlib.blake2b(f'{client} {kind} {subject}'.encode(), digest_size=16).hexdigest()}"


def key_of(secret: str) -> bytes | None:
    """The bytes of a secret written `whsec_` and base64 of 24 to 64 bytes; None for anything else."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if secret.startswith(PREFIX) and len(key) in SECRET_BYTES else None


def headers(told: Notice, key: bytes, at_s: int) -> dict[str, str]:
    """The three headers of a delivery that is sent now."""
    signed = f"{told.id}.{at_s}.{told.body}".encode()
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json", "webhook-id": told.id, "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{signature}",
    }  # fmt: skip
