"""An upload on its way from the wire to the data root: multipart, a block at a time, whatever its size. It judges nothing.

The file's bytes go to one writer in blocks of a MiB; the other fields of the form are small and kept.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from typing import BinaryIO

from fastapi import Request
from msgspec import json
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipelines import paths
from pipelines.errors import StoreError
from producer.api.errors import ApiError
from producer.api.once import Digest, digest_of
from producer.store import Store

BLOCK_BYTES = 1 << 20
FIELD_MAX_BYTES = 64 << 10
FIELDS_MAX = 32
PARQUET = b"PAR1"


class Form:
    """What a multipart body brought: its small fields, and of the file its name, its size, its kind and under which id it
    lies."""

    def __init__(self, file_id: str) -> None:
        self.id = file_id
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size_bytes = 0
        self.kind = "jsonl"
        self._content = Digest()

    @property
    def name(self) -> str:
        """Where the file is under the data root."""
        return paths.upload(self.id, self.kind)

    def took(self, block: bytes) -> None:
        self.size_bytes += len(block)
        self._content.update(block)

    @property
    def digest(self) -> str:
        """Of all that it says; a boundary says nothing."""
        said = json.encode([self.filename, self.fields], order="sorted")
        return digest_of(said, self._content.digest())


class _Parts:
    """Takes the parser's callbacks; the file's bytes gather in `pending`."""

    def __init__(self, boundary: bytes, form: Form) -> None:
        self.form = form
        self.pending = bytearray()
        self.ended = False
        self._name, self._value, self._headers = b"", bytearray(), {b"": b""}
        self._part: str | None = None
        self._text = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._done,
            },
        )

    def feed(self, block: bytes) -> None:
        self._parser.write(block)

    def taken(self) -> bytes:
        block = bytes(self.pending)
        self.pending.clear()
        return block

    def _begin(self) -> None:
        self._headers, self._part, self._text = {}, None, bytearray()
        self._name, self._value = b"", bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = bytes(self._value)
        self._name, self._value = b"", bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            if name != "file" or self.form.filename is not None:
                raise ApiError(400, "The form may have one file, in the field 'file'.", param="file")
            self.form.filename = options[b"filename"].decode("utf-8", "replace")[:255] or "file"
        else:
            if len(self.form.fields) >= FIELDS_MAX:
                raise ApiError(400, f"The form has more than {FIELDS_MAX} fields.")
            self._part = name

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is None:
            self.pending += memoryview(data)[start:end]
            return
        self._text += data[start:end]
        if len(self._text) > FIELD_MAX_BYTES:
            raise ApiError(400, f"The field '{self._part[:40]}' is too long.", param=self._part[:40])

    def _end(self) -> None:
        if self._part is not None:
            self.form.fields[self._part] = self._text.decode("utf-8", "replace")

    def _done(self) -> None:
        self.ended = True


async def receive(request: Request, store: Store, file_id: str) -> Form:
    """Writes the form's file under its id and returns what else it said; nothing is kept of a form that is not whole."""
    parts = _Parts(_boundary(request), Form(file_id))
    with ExitStack() as stack:
        writer = _Writer(store, stack, parts.form)
        try:
            async for block in request.stream():
                parts.feed(block)
                if len(parts.pending) >= BLOCK_BYTES:
                    await writer.write(parts.taken())
        except FormParserError:
            raise ApiError(400, "The body is not a multipart form that can be read.") from None
        if not parts.ended:
            raise ApiError(400, "The form is cut off before its end.")
        if parts.form.filename is None:
            raise ApiError(400, "Missing required parameter: 'file'.", code="missing_required_parameter", param="file")
        await writer.write(parts.taken())
        await asyncio.to_thread(stack.close)
    return parts.form


async def discard(store: Store, form: Form) -> None:
    """Deletes what a form brought; what cannot be deleted now is swept."""
    with suppress(StoreError):
        await asyncio.to_thread(store.delete, form.name)


class _Writer:
    """Opens the file when its first block says what it is; every block is written in a thread."""

    def __init__(self, store: Store, stack: ExitStack, form: Form) -> None:
        self._store, self._stack, self._form = store, stack, form
        self._out: BinaryIO | None = None

    async def write(self, block: bytes) -> None:
        await asyncio.to_thread(self._write, block)

    def _write(self, block: bytes) -> None:
        if self._out is None:
            self._form.kind = _kind(self._form.filename or "", block)
            self._out = self._stack.enter_context(self._store.create(self._form.name))
        self._form.took(block)
        self._out.write(block)


def _kind(filename: str, block: bytes) -> str:
    if block.startswith(PARQUET):
        return "parquet"
    return "csv" if filename.lower().endswith(".csv") else "jsonl"


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise ApiError(400, "Send the file as multipart/form-data.", param="file")
    return bytes(boundary)
