"""What is wrong in a configuration, where it stands and what to do about it; it reads no file and raises nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines import expr, route
from pipelines.config.sections import (
    NAME,
    Budget,
    Client,
    Prices,
    Quota,
    Route,
    Routing,
    Rule,
    Schedule,
    Section,
    Smtp,
    Spillway,
    Target,
)
from pipelines.config.serving import Api, Jwt
from pipelines.config.toml_lines import line_of

if TYPE_CHECKING:
    from pipelines.settings import Settings

NAMED_SECTIONS: dict[str, type[Section]] = {
    "targets": Target,
    "routes": Route,
    "schedules": Schedule,
    "clients": Client,
    "prices": Prices,
}
PLAIN_SECTIONS: dict[str, type[Section]] = {"spillway": Spillway, "api": Api, "budget": Budget, "routing": Routing}
INNER_SECTIONS: dict[str, type[Section]] = {"smtp": Smtp, "quota": Quota, "jwt": Jwt}
SECTIONS = (*PLAIN_SECTIONS, *NAMED_SECTIONS, "rules")

_SECRET = re.compile(r"api_key|admin_key|url|webhook|secret|password")
_SHAPES = {
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "model_attributes_type": "should be a table",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "too_short": "should not be empty",
    "string_too_short": "should not be empty",
    "finite_number": "should be a finite number",
    "decimal_max_places": "has more than 12 decimals",
    "decimal_max_digits": "is too large",
}
Key = tuple[str | int, ...]
Problem = tuple[Key, str]


class Layer(NamedTuple):
    """One origin of values; `text` is the TOML for a file, None for environment and options."""

    name: str
    data: Mapping[str, Any]
    text: str | None = None


def place(key: Key, layers: Sequence[Layer]) -> str:
    """The place where the wrong value came from, e.g. `spillway.toml:12`: the last layer that knows most of the key."""
    layer: Layer = max(reversed(layers), key=lambda each: _known_depth(each.data, key))
    if layer.text is not None:
        line = line_of(layer.text, key)
        return f"{layer.name}:{line}" if line else layer.name
    if layer.name == "environment":
        names = [str(part).upper() for part in key[: _known_depth(layer.data, key)]]
        return f"environment SPILLWAY_{'__'.join(names)}"
    return layer.name


def explain(details: Mapping[str, Any], data: Mapping[str, Any]) -> Problem:
    """One pydantic error as our key and message; the value is shown unless it may be secret."""
    key: Key = tuple(details["loc"])
    kind, name = details["type"], dotted(key)
    if kind == "extra_forbidden":
        known = known_keys(key[:-1])
        return key, f"unknown key `{name}`{did_you_mean(str(key[-1]), known)}"
    if kind == "missing":
        return key, f"`{name}` is missing; add `{key[-1]} = …`"
    key = key[: _known_depth(data, key)]
    message: str = _SHAPES.get(kind) or details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    value = _value(data, key)
    secret = any(isinstance(part, str) and _SECRET.search(part) for part in key)
    shown = "" if secret or isinstance(value, (Mapping, list)) else f" = {str(value)[:60]!r}"
    return key, f"`{dotted(key)}`{shown} {message}".replace("\n", " ")


def cross_checks(settings: Settings) -> Iterator[Problem]:
    """Names that must exist elsewhere, and values that exclude each other."""
    for section in ("targets", "schedules", "clients"):
        yield from _bad_names(section, getattr(settings, section))
    yield from _bad_names("routes", {name: each for name, each in settings.routes.items() if not each.implied})
    yield from _target_problems(settings)
    yield from _route_problems(settings)
    yield from _rule_problems(settings)
    yield from _schedule_problems(settings)
    yield from _client_problems(settings)
    jwt = settings.api.jwt
    if jwt is not None and (jwt.secret is None) == (jwt.jwks is None):
        yield (
            ("api", "jwt"),
            "`api.jwt` needs either `secret` (HS256) or `jwks`, a file of keys (RS256); give one of them",
        )
    if settings.routing.strategy not in route.STRATEGIES:
        yield from _missing_name(("routing", "strategy"), settings.routing.strategy, route.STRATEGIES, "strategy")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean x?`, or the names that can be used."""
    names = list(known)
    if close := get_close_matches(name, names, n=1, cutoff=0.6):
        return f"; did you mean `{close[0]}`?"
    if not names:
        return ""
    more = ", …" if len(names) > 24 else ""
    return f"; use one of {', '.join(sorted(names)[:24])}{more}"


def dotted(key: Key) -> str:
    text: str = ""
    for part in key:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def known_keys(parent: Key) -> list[str]:
    """The keys that the table at `parent` may have."""
    if not parent:
        return list(SECTIONS)
    model: type[Section] | None = PLAIN_SECTIONS.get(str(parent[0]))
    if parent[0] == "rules":
        model = Rule
    elif parent[0] in NAMED_SECTIONS:
        model = Budget if parent[0] == "clients" and len(parent) > 2 else NAMED_SECTIONS[str(parent[0])]
    if parent[-1] in INNER_SECTIONS:
        model = INNER_SECTIONS[str(parent[-1])]
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _bad_names(section: str, names: Iterable[str]) -> Iterator[Problem]:
    for name in names:
        if not NAME.fullmatch(name):
            rule = "up to 64 letters, digits, `_`, `-` and `.`, a letter or digit first"
            yield (section, name), f"`{section}` has the name {name[:80]!r}; a name is {rule}"


def _target_problems(settings: Settings) -> Iterator[Problem]:
    for name, target in settings.targets.items():
        key = ("targets", name)
        if target.base_url is None:
            yield key, f"`targets.{name}.base_url` is missing: kind {target.kind!r} has no address of its own; add it"
        if (target.input_usd_per_mtok is None) != (target.output_usd_per_mtok is None):
            yield key, f"`targets.{name}` needs both input_usd_per_mtok and output_usd_per_mtok, or neither"
        if target.watts and target.usd_per_kwh is None:
            yield (*key, "watts"), f"`targets.{name}.watts` needs `usd_per_kwh` beside it; add what a kWh costs"


def _route_problems(settings: Settings) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for name, each in settings.routes.items():
        key = ("routes", name)
        if each.implied:
            continue
        for target in each.targets:
            yield from _missing_name((*key, "targets"), target, settings.targets, "target")
        if each.min_complexity > each.max_complexity:
            yield (*key, "min_complexity"), f"`routes.{name}.min_complexity` is above its max_complexity; swap them"
        for alias in each.models:
            other = owners.setdefault(alias, name)
            taken = settings.routes.get(alias)
            if other != name or (taken is not None and alias != name and not taken.implied):
                holder = other if other != name else alias
                message = f"`routes.{name}.models` names {alias!r}, which already means route `{holder}`; remove one"
                yield (*key, "models"), message


def _schedule_problems(settings: Settings) -> Iterator[Problem]:
    for name, each in settings.schedules.items():
        key, written = ("schedules", name), f"`schedules.{name}"
        if each.route is not None:
            yield from _missing_name((*key, "route"), each.route, settings.routes, "route")
        if each.client is not None and not NAME.fullmatch(each.client):
            yield (*key, "client"), f"{written}.client` = {each.client[:60]!r} is not a name of a client"
        if each.labels and each.output_schema is not None:
            yield (*key, "labels"), f"{written}` has both labels and schema; keep one"
        if len(set(each.labels)) == 1:
            yield (*key, "labels"), f"{written}.labels` names one label; write two or more"


def _client_problems(settings: Settings) -> Iterator[Problem]:
    prices = ("price_per_mtokens_in", "price_per_mtokens_out")
    for name, client in settings.clients.items():
        key, written = ("clients", name), f"`clients.{name}`"
        for named in client.routes:
            yield from _missing_name((*key, "routes"), named, settings.routes, "route")
        priced = [price for price in prices if getattr(client, price) is not None]
        plans = [
            *(["markup"] if client.markup else []),
            *(["share_of_savings"] if client.share_of_savings is not None else []),
            *priced[:1],
        ]
        if (client.webhook is None) != (client.webhook_secret is None):
            lacking = "webhook_secret" if client.webhook else "webhook"
            yield key, f"{written} needs both webhook and webhook_secret; add {lacking}"
        if len(plans) > 1:
            yield (*key, plans[0]), f"{written} has both {plans[0]} and {plans[1]}; keep one"
        if len(priced) == 1:
            yield (*key, priced[0]), f"{written} needs both {prices[0]} and {prices[1]}, or neither"
        if client.free_tokens and not priced:
            yield (*key, "free_tokens"), f"{written} has free_tokens without prices; add {prices[0]} and {prices[1]}"


def _rule_problems(settings: Settings) -> Iterator[Problem]:
    for index, rule in enumerate(settings.rules):
        yield from _missing_name(("rules", index, "route"), rule.route, settings.routes, "route")
        try:
            expr.compile_when(rule.when)
        except expr.ExpressionError as error:
            yield ("rules", index, "when"), f"`rules[{index + 1}].when` {error}"


def _missing_name(key: Key, name: str, known: Mapping[str, object], what: str) -> Iterator[Problem]:
    if name not in known:
        yield key, f"`{dotted(key)}` names the {what} {name!r}, which does not exist{did_you_mean(name, known)}"


def _known_depth(data: Mapping[str, Any], key: Key) -> int:
    value: Any = data
    for depth, part in enumerate(key):
        if isinstance(value, Mapping) and part in value:
            value = value[str(part)]
        elif isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return depth
    return len(key)


def _value(data: Mapping[str, Any], key: Key) -> Any:
    value: Any = data
    for part in key:
        value = value[part]
    return value
