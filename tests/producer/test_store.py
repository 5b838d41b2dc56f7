"""Files of a data root where the file system or the object store is not as usual."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from producer.store import Store, unwritable


def test_a_file_is_copied_where_hard_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    store = Store(str(tmp_path))
    with store.create("files/a") as out:
        out.write(b"yes")
    store.copy("files/a", "files/b")
    with store.open("files/b") as stream:
        assert stream.read() == b"yes"


def test_a_message_says_no_credentials_of_an_object_store() -> None:
    where = "s3://name:secret@bucket/data/a"
    told = str(unwritable(where, OSError(f"reading {where}: access denied")))
    assert told.startswith("cannot write s3://bucket/data/a: reading s3://bucket/data/a: access denied; ")
