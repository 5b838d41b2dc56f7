"""Every Redis key, queue and job name, and the bytes <-> values of what lies under them.

`producer` and `worker` meet here and nowhere else. JSON and MessagePack only, never pickle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import msgspec
import zstandard

from pipelines.paths import is_run_id
from pipelines.printable import storable
from pipelines.types import BatchHead, Called, Done, Entry, Intent, Item, Late, Options, Source

PAYLOAD_MAX_BYTES = 64 << 20
"""A batch or journal element that unpacks to more is refused: a hostile value must not fill memory."""

RUN_OPEN = ("validating", "in_progress", "finalizing", "cancelling")
RUN_ENDED = ("completed", "failed", "expired", "cancelled")

_encode_msgpack = msgspec.msgpack.Encoder().encode
_items = msgspec.msgpack.Decoder(list[Item])
_head = msgspec.msgpack.Decoder(BatchHead)
_entries = msgspec.msgpack.Decoder(list[Intent | Called | Done | Late])
_sources = msgspec.json.Decoder(tuple[Source, ...])
_options = msgspec.json.Decoder(Options)


class Unreadable(ValueError):
    """Bytes in Redis that are not what we wrote there."""


class Keys:
    """Names under one prefix; a rehearsal has its own and so never meets real state."""

    def __init__(self, prefix: str = "spillway") -> None:
        self.prefix = prefix
        self.id = f"{prefix}:id"  # string: a random name of this Redis' memory; lives as long as it remembers anything
        self.open_runs = f"{prefix}:runs:open"  # set
        self.all_runs = f"{prefix}:runs:all"  # zset id -> created ms
        self.fingerprints = f"{prefix}:fingerprints"  # hash fingerprint -> run id
        self.rung = f"{prefix}:rung"  # zset batch id -> ms it was rung
        self.given = f"{prefix}:given"  # zset batch id -> ms it was given to the provider_batch lane
        self.orders = f"{prefix}:orders"  # set of the tags of the provider batches that have not ended
        self.recalled = f"{prefix}:recalled"  # set of batches that are wanted back from that lane; minutes
        self.wake = f"{prefix}:wake"  # list: the scheduler's bell
        self.arrived = f"{prefix}:arrived"  # list: prepare's bell
        self.workers = f"{prefix}:workers"  # hash worker id -> identity
        self.local_queue = f"{prefix}:local"
        self.cloud_queue = f"{prefix}:cloud"
        self.targets = f"{prefix}:targets"  # hash target -> health
        self.lanes = f"{prefix}:lanes"  # hash target -> figures for the display
        self.learned = f"{prefix}:learned"  # hash of what targets' speeds and answers' lengths were; months
        self.orphans = f"{prefix}:orphans"  # hash of what nobody settles: batch -> head, run.aside -> ''; days
        self.counted = f"{prefix}:counted"  # set of those batches' calls and notes that are in the budgets; a day
        self.poison = f"{prefix}:poison"  # hash batch id -> reason
        self.paused = f"{prefix}:paused"  # hash audit.pause_name -> why that reuse is paused
        self.preparing = f"{prefix}:preparing"  # hash client -> worker that holds its index
        self.clients = f"{prefix}:clients"  # hash client -> its key's digest, id, age and state; never the key
        self.api_open = f"{prefix}:api-open"  # set of OpenAI batches that have not ended
        self.api_expiring = f"{prefix}:api-expiring"  # zset file id -> unix s at which it, or what is left of it, goes
        self.hooks = f"{prefix}:hooks"  # zset id of a webhook's notice -> unix ms of its next try
        self.client_keys = f"{prefix}:client-keys"  # hash digest of a key -> client

    def run(self, run_id: str) -> str:
        return f"{self.prefix}:run:{run_id}"

    def waiting(self, run_id: str) -> str:
        """zset batch id -> cloud dollars saved per local second (head = highest)."""
        return f"{self.prefix}:waiting:{run_id}"

    def runs_of(self, client: str) -> str:
        """zset of a client's runs -> created ms."""
        return f"{self.prefix}:runs:of:{client}"

    def drained(self, run_id: str) -> str:
        """list of batches whose prompts all ended, waiting to be settled."""
        return f"{self.prefix}:drained:{run_id}"

    def parts(self, run_id: str) -> str:
        """hash part id -> batch ids: written before the part, so that a crash repeats the same grouping."""
        return f"{self.prefix}:parts:{run_id}"

    def promoted(self, run_id: str) -> str:
        """hash row -> w (wanted) | a (asked) | x (its source is gone): followers that become work of their own."""
        return f"{self.prefix}:promoted:{run_id}"

    def batch(self, batch_id: str) -> str:
        return f"{self.prefix}:batch:{batch_id}"

    def order(self, tag: str) -> str:
        """hash: a provider's batch as it was asked for, and `:lines` of a missing one (worker/provider_batches); until it has ended."""
        return f"{self.prefix}:order:{tag}"

    def journal(self, batch_id: str) -> str:
        """list; of a batch that nobody settles another one, this and `:taken`, while it is booked; a day."""
        return f"{self.prefix}:journal:{batch_id}"

    def worker(self, worker_id: str) -> str:
        """heartbeat: lives as long as its worker does."""
        return f"{self.prefix}:worker:{worker_id}"

    def again(self, redis_run_id: str) -> str:
        """set of the workers that have said to this life of Redis what an earlier one may have forgotten; minutes."""
        return f"{self.prefix}:again:{redis_run_id}"

    def lease(self, name: str) -> str:
        return f"{self.prefix}:lease:{name}"

    def slots(self, target: str) -> str:
        return f"{self.prefix}:slots:{target}"

    def rate(self, target: str) -> str:
        return f"{self.prefix}:rate:{target}"

    def rules(self, day: str) -> str:
        """hash index of a rule -> prompts that it routed that day."""
        return f"{self.prefix}:rules:{day}"

    def audits(self, day: str) -> str:
        """hash audit.pause_name + reuses|audited -> how many that day; lives a few days."""
        return f"{self.prefix}:audits:{day}"

    def budget(self, scope: str) -> str:
        return f"{self.prefix}:budget:{scope}"

    def prices(self, day: str) -> str:
        """hash: the prices, as JSON, that workers have charged on a UTC day; as long as budgets."""
        return f"{self.prefix}:prices:{day}"

    def reported(self, day: str) -> str:
        """hash name of a provider's key -> `first own now`, and `own NAME` (worker/money/reported.py); a few days."""
        return f"{self.prefix}:reported:{day}"

    def alerts(self, day: str) -> str:
        """hash budget scope -> what was told about it that day; lives a few days."""
        return f"{self.prefix}:alerts:{day}"

    def api_file(self, file_id: str) -> str:
        """hash: a file that a client sent or was made; its bytes are under the data root."""
        return f"{self.prefix}:api-file:{file_id}"

    def api_files(self, client: str) -> str:
        """zset of a client's files, all of one score: their ids begin with their time."""
        return f"{self.prefix}:api-files:{client}"

    def api_held(self, file_id: str) -> str:
        """set of the open batches that read a file: its bytes stay until they have ended."""
        return f"{self.prefix}:api-held:{file_id}"

    def api_batch(self, batch_id: str) -> str:
        """hash: an OpenAI batch and the run that it became."""
        return f"{self.prefix}:api-batch:{batch_id}"

    def api_batches(self, client: str) -> str:
        """zset of a client's batches, as with files."""
        return f"{self.prefix}:api-batches:{client}"

    def told(self, server: str) -> str:
        """channel: what the runs of a server's waiting clients say to it."""
        return f"{self.prefix}:told:{server}"

    def api_messages(self, client: str) -> str:
        """zset of a client's batches of messages (Anthropic's kind), as with files."""
        return f"{self.prefix}:api-messages:{client}"

    def api_once(self, client: str, digest: str) -> str:
        """what a request with this idempotency key made, or that this body was sent; a day or a minute."""
        return f"{self.prefix}:api-once:{client}:{digest}"

    def asked(self, client: str) -> str:
        """requests of a client in this minute; a minute."""
        return f"{self.prefix}:asked:{client}"

    def schedule(self, name: str) -> str:
        """hash: since when it is to fire, the firing under way, its last run; lives as long as somebody looks after it."""
        return f"{self.prefix}:schedule:{name}"

    def schedule_files(self, name: str) -> str:
        """hash URL -> how the file was when a firing took it."""
        return f"{self.prefix}:schedule-files:{name}"

    def schedule_history(self, name: str) -> str:
        """list of firings, newest first."""
        return f"{self.prefix}:schedule-history:{name}"

    def quota(self, scope: str) -> str:
        """what a client has submitted in a minute, day or month; lives a little longer than that."""
        return f"{self.prefix}:quota:{scope}"

    def hook(self, notice_id: str) -> str:
        """hash: a webhook's notice, empty once it is delivered, and how often it was tried; three days."""
        return f"{self.prefix}:hook:{notice_id}"

    def job(self, batch_id: str, epoch: int) -> str:
        """ARQ's names ignore its queue, so the prefix is part of the id."""
        return f"{self.prefix}:{batch_id}:{epoch}"


def batch_id(run_id: str, generation: int, first_row: int, index: int | str) -> str:
    """Deterministic, so that a chunk prepared twice names the same batches where it is cut in the same way."""
    return f"{run_id}.{generation}.{first_row}.{index}"


def call_id(batch: str, epoch: int, number: int) -> str:
    return f"{batch}:{epoch}:{number}"


def pack_items(items: list[Item]) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(_encode_msgpack(items))


def unpack_items(data: bytes) -> list[Item]:
    """Raises Unreadable."""
    try:
        if zstandard.frame_content_size(data) > PAYLOAD_MAX_BYTES:  # a said size is not checked below
            raise Unreadable(f"payload: more than {PAYLOAD_MAX_BYTES} bytes")
        return _items.decode(zstandard.ZstdDecompressor().decompress(data, max_output_size=PAYLOAD_MAX_BYTES))
    except (msgspec.MsgspecError, zstandard.ZstdError, RecursionError, TypeError) as error:
        raise Unreadable(f"payload: {error}") from None


def pack_head(head: BatchHead) -> bytes:
    return _encode_msgpack(head)


def unpack_head(data: bytes) -> BatchHead:
    """Raises Unreadable; a head names a run that may stand in a path, and figures that can be reckoned with."""
    try:
        head = _head.decode(data)
    except (msgspec.MsgspecError, RecursionError, TypeError) as error:
        raise Unreadable(f"head: {error}") from None
    named = is_run_id(head.run) and head.id.startswith(f"{head.run}.") and head.purpose in ("answer", "audit")
    if not named or head.rows < 0 or not 0 <= head.work < 1e18:
        raise Unreadable("head: its names or figures are not ours")
    return head


def pack_entries(entries: list[Entry]) -> bytes:
    try:
        return _encode_msgpack(entries)
    except UnicodeEncodeError:  # no answer ends the worker that heard it
        return _encode_msgpack(storable(entries))


def unpack_entries(data: bytes) -> list[Entry]:
    """Raises Unreadable."""
    try:
        return _entries.decode(data)
    except (msgspec.MsgspecError, RecursionError, TypeError) as error:
        raise Unreadable(f"journal: {error}") from None


def readable_entries(blobs: Iterable[bytes]) -> list[Entry]:
    """A journal without what others wrote into it."""
    found: list[Entry] = []
    for blob in blobs:
        with contextlib.suppress(Unreadable):
            found.extend(unpack_entries(blob))
    return found


def pack_sources(sources: tuple[Source, ...]) -> bytes:
    return msgspec.json.encode(sources)


def unpack_sources(data: bytes) -> tuple[Source, ...]:
    return _sources.decode(data)


def pack_options(options: Options) -> bytes:
    return msgspec.json.encode(options)


def unpack_options(data: bytes) -> Options:
    return _options.decode(data)


def dump(value: Any) -> bytes:
    """Small JSON values (cursors, records, ARQ jobs)."""
    return msgspec.json.encode(value)


def load(data: bytes | str) -> Any:
    return msgspec.json.decode(data)


def load_object(data: bytes | str) -> dict[str, Any]:
    """A JSON object; an empty one for what no program of ours wrote."""
    try:
        value = load(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
