"""Makes prompts of records by a Jinja2 template, in a sandbox; the only file that imports jinja2.

The sandbox keeps a template away from Python and files and bounds what it prints. It does not bound the time and memory
of a template that sets out to waste them: the operator's own may do as they like, those of strangers (clients of the
HTTP API) must pass `refuse_unbounded`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.filters import do_format, do_indent
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipelines.errors import ConfigError
from pipelines.shard import Problem

OUTPUT_MAX_CHARS = 1 << 20
ROW = "row"
"""`row["a name with spaces"]` reaches the columns whose names are no Jinja2 names."""

BOUNDED_FILTERS = frozenset([
    "abs", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int", "last", "length", "lower",
    "max", "min", "round", "string", "title", "tojson", "trim", "upper", "wordcount",
])  # fmt: skip
"""Filters whose result is about as large as what they get, and takes about as long."""
BOUNDED_LOOPS, CHAINED_FILTERS = 4, 3
_WITH_ARGUMENTS = frozenset({"d", "default", "trim"})
_UNBOUNDED = (
    nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.Concat, nodes.Add,
    nodes.Mul, nodes.Pow, nodes.Mod, nodes.Call,
)  # fmt: skip
"""What can make much of little when it is used again and again."""
_WIDE = re.compile(r"\d{4}|\*|\{[^}]*\{")
"""A format whose width is in the thousands, or comes from a value."""
_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})


class _Sandbox(ImmutableSandboxedEnvironment):
    """Without the operations that make much of little: one of them could fill memory before anything is printed."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not (isinstance(obj, str) and attr in _PADDING) and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            _refuse_wide(left)
        elif operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(times, int) and hasattr(text, "__len__") and len(text) * times > OUTPUT_MAX_CHARS:
                    raise jinja2.TemplateRuntimeError("`*` would make too long a text")
        elif operator == "**":
            raise jinja2.TemplateRuntimeError("`**` is not available")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if (wrapped := super().wrap_str_format(value)) is not None:
            _refuse_wide(value.__self__)
        return wrapped


def _refuse_wide(text: str) -> None:
    if _WIDE.search(text):
        raise jinja2.TemplateRuntimeError(f"the format {text[:40]!r} is too wide")


def _format(text: str, *args: Any, **kwargs: Any) -> str:
    _refuse_wide(text)
    return do_format(text, *args, **kwargs)


def _indent(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    return do_indent(text, min(width, 100), first, blank)


def _sandbox() -> _Sandbox:
    sandbox = _Sandbox(undefined=jinja2.StrictUndefined, finalize=_finalize)
    sandbox.globals.clear()
    for name in ("center", "batch", "slice"):
        del sandbox.filters[name]
    sandbox.filters.update(format=_format, indent=_indent)
    return sandbox


def _finalize(value: Any) -> Any:
    return "" if value is None else value


class Template:
    """A compiled template. `columns` are the columns that it reads, in the order of their first use."""

    def __init__(self, compiled: jinja2.Template, columns: tuple[str, ...], whole_row: bool) -> None:
        self._compiled = compiled
        self._whole_row = whole_row
        self.columns = columns
        self.used = frozenset(columns)

    def render(self, record: Mapping[str, Any]) -> str | Problem:
        """The prompt of one record, or why there is none."""
        parts: list[str] = []
        room = OUTPUT_MAX_CHARS
        values = record if ROW in record else {**record, ROW: record}
        try:
            for part in self._compiled.generate(values):
                parts.append(part)
                room -= len(part)
                if room < 0:
                    return Problem("template_error", f"the template printed more than {OUTPUT_MAX_CHARS} characters")
        except jinja2.UndefinedError as exc:
            remedy = "every row needs the columns that the template reads, or {{ name | default('') }}"
            return Problem("template_error", f"template: {exc.message}: {remedy}")
        except Exception as exc:  # a filter may raise anything on a value it was not made for
            return Problem("template_error", f"template: {type(exc).__name__}: {' '.join(str(exc).split())}")
        return "".join(parts)

    def fields(self, record: Mapping[str, Any]) -> tuple[str, ...] | None:
        """What of a record went into its prompt; a row's tags serve as well: they hold every column in `used`.
        None when the template uses the row as a whole, or the row has a column of that name."""
        if self._whole_row or ROW in record:
            return None
        return tuple([_text(record.get(name)) for name in self.columns])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(_finalize(value))


def compile_template(text: str, name: str = "template") -> Template:
    """Raises ConfigError with the line for a template that cannot be used."""
    sandbox = _sandbox()
    try:
        tree = sandbox.parse(text)
        _refuse_other_files(tree, name)
        free = meta.find_undeclared_variables(tree)
        columns, whole_row = _columns(tree, free)
        compiled = sandbox.from_string(text)
    except jinja2.TemplateSyntaxError as exc:
        raise ConfigError(f"{name}, line {exc.lineno}: {exc.message}; correct the template") from exc
    except RecursionError as exc:
        raise ConfigError(f"{name} is nested too deeply; make it simpler") from exc
    return Template(compiled, columns, whole_row)


def refuse_unbounded(text: str, name: str = "template") -> None:
    """ConfigError for a template whose time or memory could grow faster than its row: it may show columns, ask `if`, use
    BOUNDED_FILTERS, and loop over a column with nothing but the loop's own names inside. `text` compiles."""
    tree = _sandbox().parse(text)
    for node in tree.find_all(_UNBOUNDED):
        raise ConfigError(f"{name}, line {node.lineno}: `{type(node).__name__.lower()}` is not available here")
    for used in tree.find_all(nodes.Filter):
        if used.name not in BOUNDED_FILTERS or (_has_arguments(used) and used.name not in _WITH_ARGUMENTS):
            known = ", ".join(sorted(BOUNDED_FILTERS))
            raise ConfigError(
                f"{name}, line {used.lineno}: the filter `{used.name}`, used like this, is not available here; there are {known}"
            )
        if len(list(used.find_all(nodes.Filter))) >= CHAINED_FILTERS:
            raise ConfigError(f"{name}, line {used.lineno}: more than {CHAINED_FILTERS} filters one after the other")
    loops = list(tree.find_all(nodes.For))
    if len(loops) > BOUNDED_LOOPS:
        raise ConfigError(f"{name} has more than {BOUNDED_LOOPS} loops; make it simpler")
    for loop in loops:
        own = {"loop", *(each.name for each in _names(loop.target))}
        inside = [*loop.body, *loop.else_, *([loop.test] if loop.test else [])]
        foreign = [each.name for node in inside for each in _names(node) if each.name not in own]
        if loop.recursive or any(loop.find_all(nodes.For)) or foreign:
            raise ConfigError(
                f"{name}, line {loop.lineno}: a loop may use its own variable and no other loop or column"
            )


def _names(node: nodes.Node) -> list[nodes.Name]:
    return [each for each, _ in _walk(node, None) if isinstance(each, nodes.Name)]


def _has_arguments(used: nodes.Filter) -> bool:
    return bool(used.args or used.kwargs or used.dyn_args or used.dyn_kwargs)


def _refuse_other_files(tree: nodes.Template, name: str) -> None:
    for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        raise ConfigError(f"{name}, line {node.lineno}: a template cannot read other files; put everything into it")


def _columns(tree: nodes.Template, free: set[str]) -> tuple[tuple[str, ...], bool]:
    """Columns in the order of their first use, and whether the row is used as a whole."""
    found: dict[str, None] = {}
    whole_row = False
    for node, parent in _walk(tree, None):
        if not isinstance(node, nodes.Name) or node.name not in free:
            continue
        if node.name != ROW:
            found[node.name] = None
        elif isinstance(parent, nodes.Getattr) and not hasattr(dict, parent.attr):
            found[parent.attr] = None
        elif isinstance(parent, nodes.Getitem) and isinstance(parent.arg, nodes.Const):
            found[str(parent.arg.value)] = None
        else:
            whole_row = True
    return tuple(found), whole_row


def _walk(node: nodes.Node, parent: nodes.Node | None) -> Iterator[tuple[nodes.Node, nodes.Node | None]]:
    yield node, parent
    for child in node.iter_child_nodes():
        yield from _walk(child, node)
