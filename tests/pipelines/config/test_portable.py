"""Settings that travelled to a child process are the same there, secrets included, but for what a child must not know."""

from __future__ import annotations

import json

from pipelines.config.portable import plain
from pipelines.settings import parse_settings

SMTP = {"host": "mail.example", "from": "a@b.example", "to": ["c@d.example"], "password": "env:MAIL"}
GIVEN = {
    "budget": {"daily_usd": "0.1", "smtp": SMTP, "webhook": "https://h.example/y", "webhook_secret": "env:HOOK"},
    "api": {"admin_key": "env:ADMIN"},
    "clients": {"plain": {}, "acme": {
        "budget": {"smtp": {**SMTP, "password": "theirs"}}, "webhook": "https://h.example/x", "webhook_secret": "env:HOOK",
    }},
    "targets": {
        "gpu": {"kind": "vllm", "model": "m"}, "lost": {"kind": "openai", "model": "m", "api_key": "env:NOT_SET"},
        "mini": {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key": "env:KEY"},
    },
}  # fmt: skip
SECRETS = {"MAIL": "mail-word", "ADMIN": "admin-word", "HOOK": "hook-word", "KEY": "key-word"}


def test_secrets_arrive_and_the_servers_own_do_not() -> None:
    told = json.dumps(plain(parse_settings(GIVEN, environ=SECRETS), "/data"))
    there = parse_settings(json.loads(told))
    acme = there.clients["acme"]
    assert there.budget.smtp is not None and acme.budget.smtp is not None and acme.webhook_secret is not None
    assert (there.budget.smtp.secret, acme.budget.smtp.secret) == ("mail-word", "theirs")
    assert acme.webhook_secret.get_secret_value() == "hook-word"
    assert there.budget.webhook_secret is not None and there.budget.webhook_secret.get_secret_value() == "hook-word"
    assert (there.targets["mini"].key, there.targets["lost"].key_variable) == ("key-word", "NOT_SET")
    assert "admin-word" not in told, "a worker serves nobody"


def test_the_rest_is_the_same() -> None:
    here = parse_settings(GIVEN, environ=SECRETS)
    there = parse_settings(plain(here, "/data"))
    assert there.spillway.data == "/data"
    assert (there.budget.daily_usd, there.routes) == (here.budget.daily_usd, here.routes)
    assert there.clients["plain"] == here.clients["plain"] and there.targets["gpu"] == here.targets["gpu"]
