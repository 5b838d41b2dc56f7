"""Settings as they travel to a child process: plain values, secrets included. `parse_settings` reads them there."""

from __future__ import annotations

from typing import Any

from pipelines.config.sections import Budget
from pipelines.settings import Settings


def plain(settings: Settings, root: str) -> dict[str, Any]:
    """Settings as plain values with their secrets, for a child process' standard input; `root` is the absolute path of a data
    root that is a folder."""
    data = settings.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    data.setdefault("spillway", {})["data"] = settings.spillway.data if "://" in settings.spillway.data else root
    for name, target in settings.targets.items():
        if target.key:
            data["targets"][name]["api_key"] = target.key
        elif target.key_variable:
            data["targets"][name]["api_key"] = f"env:{target.key_variable}"
        else:
            data["targets"][name].pop("api_key", None)
    _tell_password(settings.budget, data.get("budget", {}))
    for name, client in settings.clients.items():
        written = data["clients"][name]
        _tell_password(client.budget, written.get("budget", {}))
        if client.webhook:  # without its variable it has no secret, and nothing is sent
            written["webhook_secret"] = client.webhook_secret.get_secret_value() if client.webhook_secret else ""
    data.pop("api", None)  # a worker serves nobody, and its keys are secrets
    data["routes"] = {name: data["routes"][name] for name, route in settings.routes.items() if not route.implied}
    return data


def _tell_password(budget: Budget, written: dict[str, Any]) -> None:
    if budget.smtp is not None and budget.smtp.secret:
        written["smtp"]["password"] = budget.smtp.secret
    if budget.webhook_secret is not None:
        written["webhook_secret"] = budget.webhook_secret.get_secret_value()
