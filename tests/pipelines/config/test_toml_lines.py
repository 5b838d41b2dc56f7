from __future__ import annotations

import pytest

from pipelines.config.toml_lines import line_of

TEXT = '''# a comment
[spillway]
data = "x"

[targets.gpu]
model = """
rpm = 5
"""
"odd key" = 1
sub.deep.key = 2

[[rules]]
when = "a"

[[rules]]
  when = 'b'
route = "x"
[clients."a.b".budget]
daily_usd = 1
[inline]
one = { two = 3 }
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("spillway",), 2),
        (("spillway", "data"), 3),
        (("targets",), 5),
        (("targets", "gpu", "model"), 6),
        (("targets", "gpu", "rpm"), 5),  # what stands inside a text is no key: the table's line
        (("targets", "gpu", "odd key"), 9),
        (("targets", "gpu", "sub", "deep", "key"), 10),
        (("rules", 0, "when"), 13),
        (("rules", 1), 15),
        (("rules", 1, "when"), 16),
        (("rules", 1, "missing"), 15),
        (("clients", "a.b", "budget", "daily_usd"), 19),
        (("inline", "one", "two"), 21),
        (("nowhere",), None),
    ],
)
def test_the_line_of_a_key_or_of_what_holds_it(path: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(TEXT, path) == line


def test_a_text_that_opens_and_closes_on_one_line_hides_nothing() -> None:
    assert line_of('a = """x"""\nb = 1\n', ("b",)) == 2


def test_a_text_that_opens_twice_on_one_line_stays_open() -> None:
    assert line_of("a = ['''x''', '''\nb = 1\n''']\nb = 2\n", ("b",)) == 4
