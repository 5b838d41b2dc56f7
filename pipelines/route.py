"""Decides which route answers a prompt: the model it names, else the first rule that holds, else the strategy.

It does not choose among a route's targets (plan.py does) and does not count daily limits (the caller does).

Complexity is 1 - (1 - L)(1 - K)(1 - S), each part between 0 and 1:
  L = t / (t + 1500)   t: input tokens
  K = 1 - 0.75^k       k: different words that ask for reasoning (REASONING, or routing.keywords)
  S = 1 - 0.92^s       s: 3 per code block, 1 per list item, further question, limiting word and further turn
A one-line question scores near 0.1, a labelling prompt 0.1 to 0.3, a page of demands with code above 0.8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.expr import When, compile_when

if TYPE_CHECKING:
    from pipelines.config.sections import Route
    from pipelines.settings import Settings


def _words(text: str) -> frozenset[bytes]:
    return frozenset(text.lower().encode().split())


REASONING = _words(
    "algorithm analyse analyze architecture assess compare contrast critique debug deduce derive design diagnose "
    "evaluate explain hypothesis implement infer integrate investigate justify optimise optimize plan proof prove "
    "reason reasoning reconcile refactor review root-cause simulate solve step-by-step strategy synthesise synthesize "
    "theorem trade-off trade-offs why"
)
LIMITING = _words(
    "all always avoid between both cannot constraint constraints each ensure every exactly except following if least "
    "maximum minimum most must never not only otherwise required should then unless until when without"
)
_SAMPLE_CHARS = 2_000  # instructions stand at the head or the tail; what lies between counts by its length
_MAX_ITEMS = 20
_ITEM = re.compile(r"\n[ \t]*(?:[-*•]|\d{1,2}[.)]) ")
_PUNCTUATION = b".,:;!?()[]{}\"'`*_#<>=/\\|"
_SPACES = bytes.maketrans(_PUNCTUATION, b" " * len(_PUNCTUATION))
_TAG_CHARS = 128


class Features(msgspec.Struct, frozen=True, gc=False):
    """What the strategies see of a prompt; `text` is its lower-case head and tail."""

    input_tokens: int
    reasoning: int
    limiting: int
    code_blocks: int
    items: int
    questions: int
    turns: int
    text: str = ""


class Choice(msgspec.Struct, frozen=True):
    """A written route as the strategies see it."""

    name: str
    min_complexity: float
    max_complexity: float
    keywords: re.Pattern[str] | None


class Table(msgspec.Struct, frozen=True):
    """Everything of the settings that routing needs, compiled once."""

    names: dict[str, str]
    rules: tuple[tuple[When, str], ...]
    facts: frozenset[str]
    choices: tuple[Choice, ...]
    strategy: str
    reasoning: frozenset[bytes]
    allowed: frozenset[str]


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """The route of a prompt and why; `rule` is the index of the rule, so that the caller can count its daily limit."""

    route: str
    reason: str
    rule: int | None = None


class Unroutable(msgspec.Struct, frozen=True, gc=False):
    """No route: the row becomes `invalid` with this reason."""

    code: str
    message: str


def allowed(settings: Settings, client: str) -> frozenset[str]:
    """The routes that a client may use: those of its section, else all."""
    own = settings.clients.get(client)
    return frozenset(own.routes if own is not None and own.routes else settings.routes)


def longest_tokens(settings: Settings, name: str) -> int:
    """Output tokens of an answer whose row names no limit: the largest of the targets of its route; of all targets, where the
    configuration does not have the route."""
    found = settings.routes.get(name)
    targets = found.targets if found is not None else tuple(settings.targets)
    return max((settings.targets[each].max_output_tokens for each in targets), default=0)


def table(settings: Settings, client: str = "") -> Table:
    """Compiles routes, aliases and rules, as far as the client may use them; the settings are already checked."""
    may = allowed(settings, client)
    routes = {name: route for name, route in settings.routes.items() if name in may}
    names = {alias: name for name, route in routes.items() for alias in route.models}
    names.update({name: name for name in routes})
    rules = tuple((compile_when(rule.when), rule.route) for rule in settings.rules)
    written = [_choice(name, route) for name, route in routes.items() if not route.implied]
    if not written and len(may) < len(settings.routes):
        written = [_choice(name, route) for name, route in routes.items()]
    return Table(
        names=names,
        rules=rules,
        facts=frozenset[str]().union(*(when.names for when, _ in rules)),
        choices=tuple(written),
        strategy=settings.routing.strategy,
        reasoning=_words(" ".join(settings.routing.keywords)) or REASONING,
        allowed=may,
    )


def assign(
    table: Table,
    body: Mapping[str, Any],
    tags: Mapping[str, Any],
    *,
    model: str | None = None,
    input_tokens: int = 0,
    client: str = "",
    labels: Iterable[str] | None = None,
    has_schema: bool = False,
    route: str | None = None,
    limited: AbstractSet[int] = frozenset(),
) -> Assignment | Unroutable:
    """The route of one prompt. `route` (the run's option) wins over `model` (the row's); rules whose index is in
    `limited` have spent their daily limit and are skipped."""
    wanted = route or model
    if wanted is not None:
        return _named(table, wanted, "option" if route else "model")
    if not table.choices:
        return Unroutable("no_route", "no target is configured; add [targets.NAME] to spillway.toml")
    seen: Features | None = None
    if table.rules:
        facts = _row_facts(tags) if table.facts else {}
        if "complexity" in table.facts:
            seen = features(body, input_tokens, table.reasoning)
            facts["complexity"] = complexity(seen)
        if "tags" in table.facts:
            facts["tags"] = tag_words(tags)
        facts |= {"input_tokens": input_tokens, "model": model, "labels": list(labels or ()), "has_schema": has_schema}
        facts["client"] = client
        for index, (when, name) in enumerate(table.rules):
            if index not in limited and name in table.allowed and when(facts):
                return Assignment(name, f"rule {index + 1}", index)
    if len(table.choices) == 1:
        return Assignment(table.choices[0].name, "only route")
    seen = seen or features(body, input_tokens, table.reasoning)
    return Assignment(STRATEGIES[table.strategy](table.choices, seen), table.strategy)


def features(body: Mapping[str, Any], input_tokens: int, reasoning: frozenset[bytes] = REASONING) -> Features:
    """Counts what makes a prompt hard; looks at the head and tail of long texts only."""
    messages = body.get("messages")
    parts = [_text(message) for message in messages] if isinstance(messages, list) else []
    text = "\n".join(parts)
    if len(text) > 2 * _SAMPLE_CHARS:
        text = f"{text[:_SAMPLE_CHARS]}\n{text[-_SAMPLE_CHARS:]}"
    text = text.lower()
    # Bytes are split in half the time of text; other alphabets pass through unharmed.
    words = set(text.encode("utf-8", "replace").translate(_SPACES).split())
    return Features(
        input_tokens=input_tokens,
        reasoning=len(words & reasoning),
        limiting=len(words & LIMITING),
        code_blocks=text.count("```") // 2,
        items=min(len(_ITEM.findall(text)), _MAX_ITEMS),
        questions=text.count("?"),
        turns=len(parts),
        text=text,
    )


def complexity(seen: Features) -> float:
    """How hard a prompt looks, 0 to 1; the formula stands in the module's docstring."""
    length = seen.input_tokens / (seen.input_tokens + 1_500)
    structure = 3 * seen.code_blocks + seen.items + seen.limiting + max(seen.questions - 1, 0) + max(seen.turns - 2, 0)
    easy = (1 - length) * 0.75**seen.reasoning * 0.92**structure
    return float(1 - easy)


def tag_words(tags: Mapping[str, Any]) -> list[str]:
    """What `'x' in tags` looks through: every short text among the row's columns and metadata, the elements of lists
    and comma-separated `tags`, and the names of columns that are true."""
    words: list[str] = []
    for name, value in _row_facts(tags).items():
        if value is True:
            words.append(name)
        elif isinstance(value, str):
            parts = value.split(",") if name == "tags" else (value,)
            words.extend(part.strip() for part in parts if len(part) <= _TAG_CHARS)
        elif isinstance(value, list):
            words.extend(part for part in value if isinstance(part, str) and len(part) <= _TAG_CHARS)
    return words


def _row_facts(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Columns and metadata by name; a column wins over metadata of the same name."""
    metadata = tags.get("metadata")
    return {**metadata, **tags} if isinstance(metadata, dict) else dict(tags)


def _named(table: Table, name: str, origin: str) -> Assignment | Unroutable:
    if (found := table.names.get(name)) is not None:
        return Assignment(found, origin)
    near = get_close_matches(name, table.names, n=1, cutoff=0.8)
    hint = f"did you mean {near[0]!r}? " if near else ""
    known = ", ".join(sorted(table.names)[:40]) or "none"
    return Unroutable("model_not_found", f"no route, target or alias is named {name[:100]!r}; {hint}known: {known}")


def _choice(name: str, route: Route) -> Choice:
    words = "|".join(re.escape(word.lower()) for word in sorted(route.keywords, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None
    return Choice(name, route.min_complexity, route.max_complexity, pattern)


def _text(message: object) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def by_complexity(choices: tuple[Choice, ...], seen: Features) -> str:
    """A route whose keywords occur, else the narrowest range that covers the prompt, else the route for the hardest."""
    for choice in choices:
        if choice.keywords is not None and choice.keywords.search(seen.text):
            return choice.name
    score = complexity(seen)
    plain = [choice for choice in choices if choice.keywords is None] or list(choices)
    fitting = [choice for choice in plain if choice.min_complexity <= score <= choice.max_complexity]
    if fitting:
        return min(fitting, key=lambda choice: choice.max_complexity - choice.min_complexity).name
    return max(plain, key=lambda choice: choice.max_complexity).name


def first(choices: tuple[Choice, ...], seen: Features) -> str:
    """The first route of the file, whatever the prompt."""
    return choices[0].name


Strategy = Callable[[tuple[Choice, ...], Features], str]
STRATEGIES: dict[str, Strategy] = {"complexity": by_complexity, "first": first}
