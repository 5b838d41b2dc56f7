"""The tasks of `spillway bench`: read from TOML, and each judged by its own check, 0 to 1. Nobody is called here.

An answer is never run as a program: SQL is tried on an empty database in memory that can read and nothing else, Python is
only parsed.
"""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipelines.errors import ConfigError
from pipelines.printable import one_line
from pipelines.quality import SchemaError, check, compile_schema, spoken

SHIPPED = Path(__file__).parent / "tasks.toml"
SQL_STEPS = 200_000
SQL_ROWS = 1_000
_FENCED = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One prompt with its check. `schema` is sent along, for servers that can keep to one."""

    id: str
    kind: str
    prompt: str
    check: dict[str, Any]
    system: str = ""
    max_tokens: int = 256
    schema: dict[str, Any] | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The OpenAI chat body."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        messages = [*system, {"role": "user", "content": self.prompt}]
        return {"messages": messages, "max_tokens": self.max_tokens, "temperature": 0}


def read(path: Path = SHIPPED) -> list[Task]:
    """The tasks of a file. Raises ConfigError with the place and the remedy."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        tasks = msgspec.convert(data.get("tasks", []), list[Task])
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}; docs/local-servers.md shows a task") from error
    if not tasks:
        raise ConfigError(f"{path}: has no [[tasks]]; docs/local-servers.md shows one")
    for task in tasks:
        _vet(path, task)
    if len({task.id for task in tasks}) < len(tasks):
        raise ConfigError(f"{path}: two tasks have one id; give each its own")
    return tasks


def _vet(path: Path, task: Task) -> None:
    names = task.check.keys() & CHECKS.keys()
    if len(names) != 1:
        raise ConfigError(f"{path}: task {task.id!r}: check needs exactly one of {', '.join(CHECKS)}")
    try:
        judge(task, "")
    except (KeyError, TypeError, ValueError, AttributeError, sqlite3.Error, re.error) as error:
        raise ConfigError(f"{path}: task {task.id!r}: its check cannot be used ({one_line(str(error))})") from error


def judge(task: Task, answer: str) -> tuple[float, str]:
    """The score of an answer and, below 1, one line on what is missing."""
    name = next(name for name in CHECKS if name in task.check)
    score, problem = CHECKS[name](task.check, spoken(answer))
    return score, one_line(problem)[:200] if score < 1 else ""


# -- checks: the task's table and the answer in, score and problem out -------------------------------------------------

Check = Callable[[Mapping[str, Any], str], tuple[float, str]]


def _label(wanted: Mapping[str, Any], answer: str) -> tuple[float, str]:
    """`labels` and the right one of them."""
    labels = tuple(str(label) for label in wanted["labels"])
    if wanted["answer"] not in labels:
        raise ValueError(f"answer {wanted['answer']!r} is none of the labels")
    found = check(answer, labels=labels)
    if not found.ok or found.parsed_json is None:
        return 0.0, found.reason or "no label"
    said = json.loads(found.parsed_json)
    return (1.0, "") if said == wanted["answer"] else (0.0, f"said {said}, right is {wanted['answer']}")


def _fields(wanted: Mapping[str, Any], answer: str) -> tuple[float, str]:
    """`fields`: the share of them that a JSON answer has right."""
    fields = dict(wanted["fields"])
    try:
        found = check(answer, schema=compile_schema('{"type": "object"}'))
    except SchemaError as error:  # pragma: no cover - our own schema
        raise ValueError(str(error)) from error
    if not found.ok or found.parsed_json is None:
        return 0.0, found.reason or "no JSON"
    said = json.loads(found.parsed_json)
    wrong = [name for name, value in fields.items() if not _same(said.get(name), value)]
    return 1 - len(wrong) / len(fields), f"wrong: {', '.join(wrong)}"


def _same(said: Any, value: Any) -> bool:
    if isinstance(value, str):
        return isinstance(said, str) and " ".join(said.casefold().split()) == " ".join(value.casefold().split())
    if isinstance(value, list):
        return isinstance(said, list) and len(said) == len(value) and all(map(_same, said, value))
    return bool(said == value)


def _contains(wanted: Mapping[str, Any], answer: str) -> tuple[float, str]:
    """`contains`: the share of these words; each is a text, or a list of which one will do. `lacks`: none of these."""
    text = answer.casefold()
    groups = [each if isinstance(each, list) else [each] for each in wanted["contains"]]
    missing = [group[0] for group in groups if not any(str(word).casefold() in text for word in group)]
    if any(str(word).casefold() in text for word in wanted.get("lacks", ())):
        return 0.0, "says what it should not"
    return 1 - len(missing) / len(groups), f"does not say {', '.join(map(str, missing))}"


def _pattern(wanted: Mapping[str, Any], answer: str) -> tuple[float, str]:
    """`pattern`: a regular expression that the whole answer matches, but for space around it."""
    return (1.0, "") if re.fullmatch(str(wanted["pattern"]), answer.strip(), re.DOTALL) else (0.0, "does not match")


def _python(wanted: Mapping[str, Any], answer: str) -> tuple[float, str]:
    """`python`: the answer is a module that defines this function; `arguments` is how many it takes."""
    try:
        tree = ast.parse(code_of(answer))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return 0.0, f"no Python: {error}"
    name, count = str(wanted["python"]), wanted.get("arguments")
    defined = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
    if not defined:
        return 0.0, f"does not define {name}"
    taken = len(defined[0].args.args)
    return (1.0, "") if count in (None, taken) else (0.5, f"{name} takes {taken} arguments instead of {count}")


def _sql(wanted: Mapping[str, Any], answer: str) -> tuple[float, str]:
    """`sql`: what a query must return from the tables that `tables` makes; `ordered` says whether order counts."""
    database = sqlite3.connect(":memory:")
    try:
        database.executescript(str(wanted["tables"]))
        right = [tuple(row) for row in wanted["sql"]]
        database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY)
        database.set_progress_handler(lambda: 1, SQL_STEPS)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1 << 20)
        try:
            rows = database.execute(code_of(answer).strip().rstrip(";")).fetchmany(SQL_ROWS)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            return 0.0, f"the query fails: {error}"
    finally:
        database.close()
    if not wanted.get("ordered"):
        rows, right = sorted(rows, key=repr), sorted(right, key=repr)
    return (1.0, "") if rows == right else (0.0, f"returns {rows[:3]} instead of {right[:3]}")


CHECKS: dict[str, Check] = {
    "labels": _label, "fields": _fields, "contains": _contains, "pattern": _pattern, "python": _python, "sql": _sql,
}  # fmt: skip


def code_of(answer: str) -> str:
    """The first fenced block, or the whole answer."""
    found = _FENCED.search(answer)
    return found[1] if found else answer
