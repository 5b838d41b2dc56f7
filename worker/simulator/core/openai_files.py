"""OpenAI's Files: uploads, and what batches have put out."""

from __future__ import annotations

from typing import Any

import msgspec

from worker.simulator.core.batches import desk
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.multipart import read_parts
from worker.simulator.core.openai_batches import batch_file
from worker.simulator.core.openai_lines import bad, denied, missing, page
from worker.simulator.core.server import Server, unix_s


class Upload(msgspec.Struct, frozen=True):
    id: str
    filename: str
    purpose: str
    data: bytes
    created: int


async def upload(server: Server, request: Request) -> Reply:
    """POST /v1/files."""
    refused = denied(server, request)
    if refused:
        return refused
    parts = read_parts(request.headers.get("content-type", ""), request.body)
    file, purpose = parts.get("file"), parts.get("purpose")
    if file is None or purpose is None:
        return bad("A file and a purpose are required.", "file" if file is None else "purpose")
    first = file.data.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].strip()
    if purpose.data == b"batch" and not _is_json(first):
        return bad("Invalid file format. The file must be in jsonl format.", "file")
    files = desk(server).files
    kept = Upload(
        f"file-{len(files) + 1:08d}",
        file.filename or "upload",
        purpose.data.decode("latin-1"),
        file.data,
        int(unix_s()),
    )
    files[kept.id] = kept
    return json_reply(_file(kept.id, kept.filename, kept.purpose, len(kept.data), kept.created))


async def list_files(server: Server, request: Request) -> Reply:
    """GET /v1/files."""
    kept = [each for each in desk(server).files.values() if request.parameters().get("purpose") in (None, each.purpose)]
    data = [_file(each.id, each.filename, each.purpose, len(each.data), each.created) for each in reversed(kept)]
    return json_reply(page(data, has_more=False))


async def get_file(server: Server, request: Request) -> Reply:
    """GET /v1/files/{id}."""
    found = _content(server, request.args["id"])
    if found is None:
        return missing("file", request.args["id"])
    name, purpose, data, created = found
    return json_reply(_file(request.args["id"], name, purpose, len(data), created))


async def get_content(server: Server, request: Request) -> Reply:
    """GET /v1/files/{id}/content."""
    found = _content(server, request.args["id"])
    return (
        missing("file", request.args["id"])
        if found is None
        else Reply(body=found[2], content_type="application/octet-stream")
    )


async def delete_file(server: Server, request: Request) -> Reply:
    """DELETE /v1/files/{id}; a deleted output is gone for good."""
    work, identity = desk(server), request.args["id"]
    if _content(server, identity) is None:
        return missing("file", identity)
    work.files.pop(identity, None)
    server.notes.setdefault("deleted", set()).add(identity)
    return json_reply({"id": identity, "object": "file", "deleted": True})


def _content(server: Server, identity: str) -> tuple[str, str, bytes, int] | None:
    """Name, purpose, bytes and time of a file: an upload, or what a batch has put out."""
    if identity in server.notes.get("deleted", ()):
        return None
    kept = desk(server).files.get(identity)
    return batch_file(server, identity) if kept is None else (kept.filename, kept.purpose, kept.data, kept.created)


def _file(identity: str, name: str, purpose: str, size: int, created: int) -> dict[str, Any]:
    file = {"id": identity, "object": "file", "bytes": size, "created_at": created, "filename": name}
    return {**file, "purpose": purpose, "status": "processed", "expires_at": created + 30 * 86_400}


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
