"""The `when` of a rule: names, comparison, and/or/not/in over the facts of one prompt. It knows no calls, attributes
or arithmetic, and nothing is ever evaluated as Python."""

from __future__ import annotations

import ast
import functools
import operator
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

MAX_CHARS = 1_000
MAX_NODES = 200
MAX_DEPTH = 20

NAMES = ("complexity", "input_tokens", "tags", "model", "labels", "has_schema", "client")
"""The facts that every prompt has; any other name is a column or metadata field of the row, None when it has none."""

Facts = Mapping[str, Any]
_Value = Callable[[Facts], Any]
_CONSTANTS = {"true": True, "false": False, "null": None}


class ExpressionError(ValueError):
    """The text is no expression of this language; the message names the column (1-based) and the remedy."""


class When(msgspec.Struct, frozen=True):
    """A compiled condition; `names` are the facts that it asks for."""

    text: str
    names: frozenset[str]
    test: Callable[[Facts], bool]

    def __call__(self, facts: Facts) -> bool:
        return self.test(facts)


def compile_when(text: str) -> When:
    """The condition that `text` says. A missing fact is None; values that cannot be compared make a comparison false.
    Raises ExpressionError."""
    line = text.replace("\n", " ").replace("\r", " ").replace("\t", " ")
    if len(line) > MAX_CHARS:
        raise ExpressionError(f"has {len(line)} characters, {MAX_CHARS} are allowed; split it into several rules")
    source = line.lstrip(" ")
    builder = _Builder(source, len(line) - len(source))
    tree = builder.parse()
    value = builder.condition(tree, 0)
    return When(text, frozenset(builder.names), lambda facts: bool(value(facts)))


class _Builder:
    """Turns the syntax tree into closures, counting what it has seen."""

    def __init__(self, source: str, indent: int) -> None:
        self.source = source
        self.indent = indent
        self.names: set[str] = set()
        self.nodes = 0

    def parse(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.source, mode="eval").body
        except SyntaxError as error:
            ended = not error.offset or error.offset > len(self.source)
            column = self.indent + (len(self.source) + 1 if ended else error.offset or 1)
            what = "the condition ends too early" if ended else error.msg
            raise ExpressionError(f"column {column}: {what}; write e.g. complexity > 0.8 or 'urgent' in tags") from None
        except (ValueError, MemoryError, RecursionError):
            raise ExpressionError("column 1: cannot be read; write a shorter condition") from None

    def refuse(self, node: ast.AST, message: str) -> ExpressionError:
        offset: int = getattr(node, "col_offset", 0)
        column = len(self.source.encode()[:offset].decode(errors="ignore")) + 1 + self.indent
        return ExpressionError(f"column {column}: {message}")

    def condition(self, node: ast.expr, depth: int) -> _Value:
        """A part that is asked for true or false; a text or number alone there is nearly always a mistake."""
        if isinstance(node, ast.Constant) and not isinstance(node.value, bool):
            raise self.refuse(node, "a value alone is no condition; compare it, e.g. 'urgent' in tags")
        return self.value(node, depth)

    def value(self, node: ast.expr, depth: int) -> _Value:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise self.refuse(node, "the condition is too long or too deep; split it into several rules")
        build = _BUILD.get(type(node))
        if build is None:
            what = type(node).__name__.lower()
            raise self.refuse(node, f"`{what}` is not allowed; use names, numbers, texts, comparison, and, or, not, in")
        return build(self, node, depth + 1)


def _constant(builder: _Builder, node: ast.Constant, _depth: int) -> _Value:
    value = node.value
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise builder.refuse(node, "only numbers, texts, true, false and null are values")
    return lambda _facts: value


def _name(builder: _Builder, node: ast.Name, _depth: int) -> _Value:
    name = node.id
    if name in _CONSTANTS:
        constant = _CONSTANTS[name]
        return lambda _facts: constant
    near = get_close_matches(name, [known for known in NAMES if len(known) >= 8], n=1, cutoff=0.9)
    if near and name != near[0]:
        raise builder.refuse(node, f"unknown name `{name}`; did you mean `{near[0]}`?")
    builder.names.add(name)
    return lambda facts: facts.get(name)


def _sequence(builder: _Builder, node: ast.List | ast.Tuple | ast.Set, depth: int) -> _Value:
    parts = tuple(builder.value(part, depth) for part in node.elts)
    return lambda facts: [part(facts) for part in parts]


def _bool_op(builder: _Builder, node: ast.BoolOp, depth: int) -> _Value:
    parts = [builder.condition(part, depth) for part in node.values]
    return functools.reduce(_both if isinstance(node.op, ast.And) else _either, parts)


def _both(left: _Value, right: _Value) -> _Value:
    return lambda facts: left(facts) and right(facts)


def _either(left: _Value, right: _Value) -> _Value:
    return lambda facts: left(facts) or right(facts)


def _unary(builder: _Builder, node: ast.UnaryOp, depth: int) -> _Value:
    operand = node.operand
    if isinstance(node.op, ast.Not):
        part = builder.condition(operand, depth)
        return lambda facts: not part(facts)
    number = operand.value if isinstance(operand, ast.Constant) else None
    if isinstance(node.op, ast.USub) and isinstance(number, (int, float)) and not isinstance(number, bool):
        value = -number
        return lambda _facts: value
    raise builder.refuse(node, "arithmetic is not allowed; only a number may have a minus sign")


def _compare(builder: _Builder, node: ast.Compare, depth: int) -> _Value:
    tests = []
    for each in node.ops:
        test = _TESTS.get(type(each))
        if test is None:
            raise builder.refuse(node, "`is` is not allowed; write == or !=")
        tests.append(test)
    parts = [builder.value(part, depth) for part in (node.left, *node.comparators)]
    if len(tests) == 1:
        test, (left, right) = tests[0], parts
        return lambda facts: test(left(facts), right(facts))

    def chained(facts: Facts) -> bool:
        before = parts[0](facts)
        for test, part in zip(tests, parts[1:], strict=True):
            after = part(facts)
            if not test(before, after):
                return False
            before = after
        return True

    return chained


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """CSV columns are texts: beside a number, a text that reads as a number is one."""
    if isinstance(left, str) and isinstance(right, (int, float)):
        return _number(left), right
    if isinstance(right, str) and isinstance(left, (int, float)):
        return left, _number(right)
    return left, right


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _equal(left: Any, right: Any) -> bool:
    left, right = _alike(left, right)
    return bool(left == right)


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        left, right = _alike(left, right)
        try:
            return bool(test(left, right))
        except TypeError:
            return False

    return compare


def _contains(left: Any, right: Any) -> bool:
    if isinstance(right, (str, dict)):
        return isinstance(left, str) and left in right
    return isinstance(right, list) and any(_equal(left, each) for each in right)


_TESTS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: _ordered(operator.lt),
    ast.LtE: _ordered(operator.le),
    ast.Gt: _ordered(operator.gt),
    ast.GtE: _ordered(operator.ge),
    ast.Eq: _equal,
    ast.NotEq: lambda left, right: not _equal(left, right),
    ast.In: _contains,
    ast.NotIn: lambda left, right: not _contains(left, right),
}
_BUILD: dict[type[ast.expr], Callable[[_Builder, Any, int], _Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Set: _sequence,
    ast.BoolOp: _bool_op,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
}
