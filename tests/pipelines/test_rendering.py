"""Templates: what they print, what they refuse, and which columns they read."""

from __future__ import annotations

import pytest

from pipelines.errors import ConfigError
from pipelines.rendering import OUTPUT_MAX_CHARS, compile_template, refuse_unbounded
from pipelines.shard import Problem


def refused(text: str, record: dict[str, object] | None = None) -> str:
    found = compile_template(text).render(record or {})
    assert isinstance(found, Problem), found
    assert found.code == "template_error"
    assert "\n" not in found.message
    return found.message


def test_columns_are_filled_in() -> None:
    template = compile_template(
        "{{ name | upper }}: {{ row['unit price'] }}{% for tag in tags %} #{{ tag }}{% endfor %}\n"
    )
    record = {"name": "cup", "unit price": 3, "tags": ["a", "b"], "other": 1}
    assert template.render(record) == "CUP: 3 #a #b"
    assert template.columns == ("name", "unit price", "tags")
    assert template.fields(record) == ("cup", "3", "['a', 'b']")


def test_columns_come_in_the_order_of_their_first_use() -> None:
    assert compile_template("{% if z %}{{ b }}{% endif %}{{ a }}{{ b }}").columns == ("z", "b", "a")
    assert compile_template("{% set x = y %}{{ x }}{{ row.w }}").columns == ("y", "w")


def test_null_is_nothing_and_missing_is_a_reason() -> None:
    template = compile_template("<{{ a }}>")
    assert template.render({"a": None}) == "<>"
    assert template.fields({}) == ("",)
    assert "'a'" in refused("<{{ a }}>")
    assert compile_template("{{ a | default('none') }}").render({}) == "none"


@pytest.mark.parametrize("text", ["{{ row }}", "{{ row | tojson }}", "{{ row.get('a') }}", "{{ row[name] }}"])
def test_fields_are_unknown_when_the_row_is_used_as_a_whole(text: str) -> None:
    template = compile_template(text)
    assert template.fields({"a": 1, "name": "a"}) is None
    assert isinstance(template.render({"a": 1, "name": "a"}), str)


def test_a_column_may_be_named_like_a_part_of_jinja() -> None:
    template = compile_template("{{ range }} {{ dict }} {{ row }}")
    assert template.columns == ("range", "dict")
    assert template.render({"range": 1, "dict": 2, "row": 3}) == "1 2 3"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ok\n{{ x", "line 2"),
        ("{% if %}", "line 1"),
        ("\n\n{{ x | nope }}", "line 3"),
        ("{% include 'secret.txt' %}", "other files"),
        ("{% import 'a' as a %}", "other files"),
    ],
)
def test_a_template_that_cannot_be_used_is_a_configuration_error(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        compile_template(text, "review.j2")


@pytest.mark.parametrize(
    "text",
    [
        "{{ x.__class__.__mro__ }}",
        "{{ x | attr('__class__') }}",
        "{{ 'a' * 10000000000 }}",
        "{{ 10000000000 * 'a' }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ x.ljust(10000000000) }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '%9999999999d' | format(1) }}",
        "{{ '{:>9999999999}'.format(1) }}",
        "{{ items.append(1) }}",
        "{{ 1 // 0 }}",
        "{% for i in range(9) %}{% endfor %}",
    ],
)
def test_the_sandbox_refuses(text: str) -> None:
    refused(text, {"x": "text", "items": []})


def test_formats_of_usual_width_work() -> None:
    assert compile_template("{{ '%.2f' | format(x) }} {{ '%5d' % x }} {{ '-' * 3 }} {{ 3 * x }}").render({"x": 2}) == (
        "2.00     2 --- 6"
    )


def test_output_is_bounded() -> None:
    record = {"x": "y" * 100_000, "n": list(range(20))}
    assert str(OUTPUT_MAX_CHARS) in refused("{% for i in n %}{{ x }}{% endfor %}", record)


@pytest.mark.parametrize(
    "text",
    [
        "{% set a = x ~ x %}{{ a }}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ x | replace('', x) }}",
        "{{ x + x }}",
        "{{ x * 9 }}",
        "{{ x | tojson(indent=99999) }}",
        "{{ 1.5 | round(999999999) }}",
        "{{ x | tojson | tojson | tojson | tojson }}",
        "{% for a in x %}{% for b in a %}{% endfor %}{% endfor %}",
        "{% for a in x %}{% if x | upper %}{% endif %}{% endfor %}",
        "{% for a in x if x | upper %}{% endfor %}",
        "{% for a in x recursive %}{{ loop(a) }}{% endfor %}",
        "{% for a in x %}{% endfor %}" * 5,
        "{{ x.join(x) }}",
        "{% filter upper %}{{ x }}{% endfilter %}",
        "{% with a = x %}{{ a }}{% endwith %}",
    ],
)
def test_a_stranger_may_not_make_much_of_little(text: str) -> None:
    compile_template(text)
    with pytest.raises(ConfigError):
        refuse_unbounded(text)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: {{ question }}",
        "{{ row['a b'] | trim | upper | default('none') }}{% if lang == 'de' %} auf Deutsch{% endif %}",
        "{% for each in tags %}{{ loop.index }}. {{ each | tojson }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{{ price | round }} {{ name[:20] }} {{ a if b else c }}",
    ],
)
def test_what_a_stranger_needs_is_there(text: str) -> None:
    refuse_unbounded(text)
