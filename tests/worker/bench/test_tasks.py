"""The tasks that ship are sound, every check tells right from wrong, and no answer runs as a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError
from worker.bench.tasks import CHECKS, Task, judge, read

RIGHT = {
    "sql-totals": "```sql\nSELECT c.name, SUM(o.amount) AS s FROM customers c JOIN orders o ON o.customer_id = c.id "
    "WHERE c.country = 'DE' GROUP BY c.id ORDER BY s DESC;\n```",
    "sql-missing": "SELECT title FROM products WHERE id NOT IN (SELECT product_id FROM reviews)",
    "sql-average": "SELECT page, AVG(seconds) FROM visits GROUP BY page HAVING COUNT(DISTINCT day) >= 2",
    "python-median": "```python\ndef median(values):\n    s = sorted(values)\n    n = len(s)\n    return s[n // 2]\n```",
    "debug-off-by-one": "3",
    "debug-printed": "ca",
    "debug-error": "KeyError",
    "debug-default": "The default list is created once, when the function is defined, and shared by all calls.",
    "analysis-trend": "April",
    "analysis-arithmetic": "178 euros.",
    "analysis-order": "Ann",
    "analysis-cause": "Release.",
    "label-refund": "refund",
    "label-technical": "Technical",
    "label-irony": "negative",
    "label-language": "Dutch",
    "extract-order": '{"order": "A-4471", "date": "2026-03-03", "total": 59.90}',
    "extract-people": '```json\n{"sender": "Maria Lopez", "receiver": "Jan de Vries", "city": "utrecht"}\n```',
    "extract-list": '{"emails": ["info@example.com", "ann.b@example.org"]}',
    "extract-none": '{"name": "Olga Petrova", "phone": null}',
}
WRONG = "I do not know; 42 of them, perhaps."


def test_the_shipped_tasks_cover_the_kinds_and_can_be_solved() -> None:
    tasks = {task.id: task for task in read()}
    assert tasks.keys() == RIGHT.keys()
    assert {task.kind for task in tasks.values()} == {"code", "debug", "analysis", "label", "extract"}
    for name, task in tasks.items():
        assert judge(task, RIGHT[name]) == (1.0, ""), name
        score, problem = judge(task, WRONG)
        assert score < 0.5 and problem, name
        assert judge(task, "")[0] == 0, name
        assert not [text for text in ("\n\n\n", "TODO") if text in task.prompt]


def task(check: dict[str, Any]) -> Task:
    return Task(id="t", kind="k", prompt="p", check=check)


TABLES = "CREATE TABLE t(x INTEGER); INSERT INTO t VALUES (1), (2);"


@pytest.mark.parametrize(
    ("check", "answer", "score"),
    [
        ({"fields": {"a": 1, "b": "x"}}, '{"a": 1, "b": "y"}', 0.5),
        ({"fields": {"a": [1, "X"]}}, '{"a": [1, "x"]}', 1.0),
        ({"fields": {"a": 1}}, "[1]", 0.0),
        ({"contains": ["one", ["two", "zwei"]]}, "One and zwei", 1.0),
        ({"contains": ["one", "two"]}, "one", 0.5),
        ({"contains": ["one"], "lacks": ["never"]}, "one, never two", 0.0),
        ({"python": "f", "arguments": 2}, "def f(a): return a", 0.5),
        ({"python": "f"}, "def g(a): return a", 0.0),
        ({"python": "f"}, "def f(", 0.0),
        ({"sql": [[2], [1]], "tables": TABLES}, "SELECT x FROM t", 1.0),
        ({"sql": [[2], [1]], "tables": TABLES, "ordered": True}, "SELECT x FROM t ORDER BY x", 0.0),
        ({"sql": [[1]], "tables": TABLES}, "DELETE FROM t", 0.0),
        ({"sql": [[1]], "tables": TABLES}, "ATTACH 'spill.db' AS d", 0.0),
        ({"sql": [[1]], "tables": TABLES}, "PRAGMA user_version", 0.0),
        ({"sql": [[1]], "tables": TABLES}, "SELECT x FROM t; DROP TABLE t", 0.0),
        ({"sql": [[1]], "tables": TABLES}, "SELECT length(zeroblob(1000000000))", 0.0),
        (
            {"sql": [[1]], "tables": TABLES},
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
            0.0,
        ),
    ],
)
def test_checks(check: dict[str, Any], answer: str, score: float, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert judge(task(check), answer)[0] == pytest.approx(score)
    assert list(tmp_path.iterdir()) == [], "nothing was written"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no [[tasks]]"),
        ("[[tasks]]\nid = 1", "Expected `str`"),
        ('[[tasks]]\nid = "a"\nkind = "k"\nprompt = "p"\ncheck = {}', "exactly one of"),
        ('[[tasks]]\nid = "a"\nkind = "k"\nprompt = "p"\ncheck = { labels = ["x", "y"] }', "cannot be used"),
        ('[[tasks]]\nid = "a"\nkind = "k"\nprompt = "p"\ncheck = { pattern = "(" }', "cannot be used"),
        (
            '[[tasks]]\nid = "a"\nkind = "k"\nprompt = "p"\ncheck = { sql = [], tables = "CREATE nonsense" }',
            "cannot be",
        ),
        ('[[tasks]]\nid = "a"\nkind = "k"\nprompt = "p"\ncheck = { pattern = "x" }\n' * 2, "two tasks have one id"),
        ('[[tasks]]\nid = "a"\nkind = "k"\nprompt = "p"\ntypo = 1\ncheck = { pattern = "x" }', "typo"),
        ("[[tasks", "tasks.toml"),
    ],
)
def test_a_mistake_in_a_task_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "tasks.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as told:
        read(file)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        read(tmp_path / "none.toml")


def test_every_check_is_described() -> None:
    page = (Path(__file__).parents[3] / "docs/local-servers.md").read_text()
    assert all(f"| `{name}`" in page for name in CHECKS)


def test_what_was_thought_aloud_is_not_judged() -> None:
    task = Task(id="a", kind="k", prompt="p", check={"pattern": "[0-9]+"})
    assert judge(task, "<think>7? No.</think>\n42") == (1.0, "")
    assert judge(task, "<think>42")[0] == 0.0
