"""docs/providers.md says which kind carries what; the adapters are asked."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pipelines.config.sections import Kind
from tests.worker.backends.carried import COLUMNS, table

PAGE = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")


def test_the_table_is_what_the_adapters_do() -> None:
    chapter = PAGE.partition("## Which kind carries what")[2].partition("\n## ")[0]
    written = [line for line in chapter.splitlines() if line.startswith("|")]
    for said, done in zip(written, table(), strict=True):
        assert said == done, "python -m tests.worker.backends.carried prints the table"


def test_every_kind_has_its_column() -> None:
    assert {column["kind"] for column in COLUMNS.values()} == set(get_args(Kind)) - {"simulator"}
