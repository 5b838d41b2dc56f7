"""Sorts a chunk's rows into asked, linked and invalid, and cuts the asked ones into batches; shared by prepare and plan.

It reads nothing and commits nothing: rows in, one Chunk out, and what the indexes would learn beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from pipelines import audit, identity, route, schemas, wire
from pipelines.batch import Asked, cut_of, form_of, pack, unmeasured, work
from pipelines.dedup import Candidate, Link
from pipelines.dialects.parameters import LIMITS
from pipelines.settings import Settings
from pipelines.shard import system_text, user_text
from pipelines.tokens import Encoding, count_chats, count_tokens, encoding_for
from pipelines.types import BadRow, BatchHead, Item, Options, Row
from worker.dedupe.encode import Encoder
from worker.dedupe.index import DuplicateIndex
from worker.money.ledger import Ledger
from worker.prepare.chunk import Chunk, explain, follow, invalid
from worker.prepare.ids import Ids

if TYPE_CHECKING:
    from pipelines.rendering import Template

PREFIX_CHARS = 256
NO_FAMILY = bytes(8)


class Indexes(msgspec.Struct):
    """What is remembered of earlier rows: the client's questions, and the run's ids."""

    questions: DuplicateIndex | None
    ids: Ids
    salts: dict[tuple[str, str | None], bytes] = {}


class Asker(msgspec.Struct, frozen=True):
    """Whose rows these are: the run's id, client and options, and its template if it has one."""

    id: str
    client: str
    options: Options
    template: Template | None = None


def vocabulary(settings: Settings) -> Encoding:
    """What prompts are counted with before their target is known."""
    return encoding_for(next((target.model for target in settings.targets.values()), ""))


class Sifter:
    """Rows to chunks under one configuration."""

    def __init__(
        self, settings: Settings, ledger: Ledger, encoder: Encoder, window: Callable[[str], int | None]
    ) -> None:
        self._settings, self._ledger, self._encoder, self._window = settings, ledger, encoder, window
        self._table = route.table(settings)
        self._own = {name: route.table(settings, name) for name, client in settings.clients.items() if client.routes}
        self._encoding = vocabulary(settings)
        self.rates: dict[str, float] = {}
        """Rows per second of each route's lane, for the size of batches; 0 while unknown."""
        self.rules_left: dict[int, int] = {
            index: rule.daily_limit for index, rule in enumerate(settings.rules) if rule.daily_limit is not None
        }
        """Prompts that each limited rule may still route today."""
        self.expect: Callable[[str, int, Options], int] = unmeasured
        """Output tokens of a route's answer, given max_tokens; a plan puts what was measured here."""
        self.groups: frozenset[str] = frozenset()
        """Those that a plan knows from earlier runs: of a few prompts too, which batches of a run would get small by."""
        self.paused: frozenset[str] = frozenset()
        """Pauses of routes whose audits found too many wrong reuses: keys alone reuse there, exact ones where canonical ones were
        wrong."""

    def mode(self, asker: Asker) -> str:
        """off, exact or semantic: what the run's most lenient route needs an index for."""
        modes = {asker.options.dedupe or each.dedupe for each in self._settings.routes.values()}
        return "semantic" if "semantic" in modes else "exact" if "exact" in modes else "off"

    def index(self, mode: str) -> DuplicateIndex:
        """An empty index of a client."""
        limit = self._settings.spillway.index_prompts
        return DuplicateIndex(mode, self._encoder if mode == "semantic" else None, limit)

    def sift(self, asker: Asker, indexes: Indexes, rows: list[Row | BadRow], generation: int, *, ask: bool) -> Chunk:
        """Every row becomes asked, a link or invalid. Runs in a thread."""
        chunk = Chunk(
            {name: [None] * len(rows) for name in schemas.CHUNK.names}, [], Counter(rows=len(rows)), Counter()
        )
        valid = self._valid(indexes, rows, chunk)
        tokens = self._count(asker, [row for _, row in valid])
        routed: list[tuple[int, Row, str, int]] = []
        for (at, row), count in zip(valid, tokens, strict=True):
            chosen = self._assign(asker, row, count, chunk)
            if isinstance(chosen, str):
                problem = self._too_long(chosen, count)
                if problem is None:
                    routed.append((at, row, chosen, count))
                    continue
            else:
                problem = (chosen.code, chosen.message)
            invalid(chunk, at, *problem)
        links = self._links(asker, indexes, routed, chunk)
        asked = []
        for (at, row, name, count), link in zip(routed, links, strict=True):
            chunk.columns["route"][at] = name
            if link is None:
                chunk.columns["kind"][at] = "asked"
                asked.append(self._asked(asker, row, name, count))
            else:
                follow(chunk, at, link)
        chunk.counts["asked"] = len(asked)
        if ask:
            self.cut(asker, asked, generation, rows[0].row if rows else 0, chunk)
        return chunk

    def _count(self, asker: Asker, rows: list[Row]) -> list[int]:
        """Input tokens of each row: with the run's schema, which is sent where a row has none of its own."""
        schema = count_tokens([asker.options.schema], self._encoding)[0] if asker.options.schema else 0
        counts = count_chats([row.body for row in rows], self._encoding)
        return [
            count + (0 if row.body.get("response_format") else schema) for row, count in zip(rows, counts, strict=True)
        ]

    def _valid(self, indexes: Indexes, rows: list[Row | BadRow], chunk: Chunk) -> list[tuple[int, Row]]:
        """Fills identity and tags of every row; bad rows and repeated ids are done here."""
        columns = chunk.columns
        named = [row for row in rows if row.custom_id is not None]
        known, chunk.ids = indexes.ids.repeated([row.custom_id for row in named if row.custom_id is not None])
        repeated = {row.row for row, again in zip(named, known, strict=True) if again}
        valid: list[tuple[int, Row]] = []
        for at, row in enumerate(rows):
            columns["row"][at], columns["custom_id"][at] = row.row, row.custom_id
            columns["tags"][at] = msgspec.json.encode(row.tags).decode() if row.tags else "{}"
            if isinstance(row, BadRow):
                invalid(chunk, at, row.code, row.message)
            elif row.row in repeated:
                message = f"custom_id {row.custom_id!r} was already used by an earlier row; ids must be unique"
                invalid(chunk, at, "duplicate_custom_id", message)
            else:
                valid.append((at, row))
        return valid

    def _assign(self, asker: Asker, row: Row, tokens: int, chunk: Chunk) -> str | route.Unroutable:
        """The row's route; a rule that has spent its daily limit is passed over. A run's own route that the configuration has
        no more is kept: its rows wait for it (schedule/why.py says so), they are not invalid for that."""
        if asker.options.route is not None and asker.options.route not in self._settings.routes:
            return asker.options.route
        spent = {index for index, left in self.rules_left.items() if chunk.rules[index] >= left}
        found = route.assign(
            self._own.get(asker.client, self._table), row.body, row.tags, model=row.model, input_tokens=tokens, client=asker.client,
            labels=asker.options.labels, has_schema=asker.options.schema is not None, route=asker.options.route,
            limited=spent,
        )  # fmt: skip
        if isinstance(found, route.Unroutable):
            return found
        if found.rule in self.rules_left:
            chunk.rules[found.rule] += 1
        return found.route

    def _too_long(self, name: str, tokens: int) -> tuple[str, str] | None:
        """Whether the prompt fits no target of its route, which the configuration may not have."""
        found = self._settings.routes.get(name)
        if found is None:
            return None
        windows = [self._window(target) for target in found.targets]
        if any(window is None or tokens <= window for window in windows):
            return None
        largest = max(window for window in windows if window is not None)
        message = f"about {tokens} tokens, but the largest context of route {name!r} is {largest}; shorten the prompt"
        return "context_overflow", message

    def _links(
        self, asker: Asker, indexes: Indexes, routed: list[tuple[int, Row, str, int]], chunk: Chunk
    ) -> list[Link | None]:
        """Which prompts another prompt's answer serves; fills the columns that the index is rebuilt from."""
        index = indexes.questions
        links: list[Link | None] = [None] * len(routed)
        if index is None or not routed:
            return links
        places: list[int] = []
        candidates: list[Candidate] = []
        for place, (_, row, name, _) in enumerate(routed):
            found = self._settings.routes.get(name)
            if found is None:
                continue
            mode = asker.options.dedupe or found.dedupe
            if mode == "semantic" and audit.pause_name(name, "canonical") in self.paused:
                mode = "exact"
            if mode == "off" or (identity.separate_samples(row.body) and not found.merge_samples):
                continue
            candidates.append(self._candidate(asker, indexes, row, name, mode))
            places.append(place)
        if not candidates:
            return links
        chunk.screened = index.screen(candidates)
        columns = index.to_columns(chunk.screened)
        for place, link in zip(places, chunk.screened.links, strict=True):
            if link is not None and link.leader_run == asker.id:
                link = msgspec.structs.replace(link, leader_run=None)
            chunk.counts["borrowed"] += link is not None and link.leader_run is not None
            chunk.counts["proven"] += link is not None and link.kind in audit.GROUNDS  # what may be audited
            links[place] = link
        for name, array in columns.items():
            values = array.to_pylist() if isinstance(array, pa.Array | pa.ChunkedArray) else list(array)
            for place, value in zip(places, values, strict=True):
                chunk.columns[name][routed[place][0]] = value
        at = {candidate.row: routed[place][0] for place, candidate in zip(places, candidates, strict=True)}
        explain(chunk, asker.id, chunk.screened, at)
        return links

    def _candidate(self, asker: Asker, indexes: Indexes, row: Row, name: str, mode: str) -> Candidate:
        options = asker.options
        salted = indexes.salts.get((name, row.model))
        if salted is None:
            salted = indexes.salts[name, row.model] = self._salt(asker, name, row.model)
        key = identity.key(salted, row.body)
        if mode == "exact":
            return Candidate(row.row, key, NO_FAMILY, "")
        shaped = options.schema is not None or row.body.get("response_format") not in (None, {"type": "text"})
        shaped = shaped or bool(row.body.get("tools") or row.body.get("functions"))  # whose arguments quote the prompt
        found = self._settings.routes[name]
        fields = asker.template.fields(row.tags) if asker.template else None
        return Candidate(
            row.row, key, identity.family(salted, row.body), user_text(row.body), fields,
            found.task or ("strict" if shaped and not options.labels else ""), found.paraphrase, system_text(row.body),
            labels=bool(options.labels), keys_only=audit.pause_name(name, "proof") in self.paused,
        )  # fmt: skip

    def _salt(self, asker: Asker, name: str, model: str | None) -> bytes:
        """What questions share beyond their bodies: who asks, who may answer, how answers are checked, and for how long."""
        options, found = asker.options, self._settings.routes[name]
        targets = [self._settings.targets[target] for target in found.targets]
        answering = sorted({(target.kind, target.provider or "", target.model) for target in targets})
        only_here = None if found.reuse_for else asker.id
        check = wire.dump([options.labels, options.schema, options.template, answering, only_here])
        return identity.salt(asker.client, name, model, check)

    def _asked(self, asker: Asker, row: Row, name: str, tokens: int) -> Asked:
        samples = row.body.get("n") or 1
        # Servers differ in which of them they obey.
        max_tokens = max([0, *(limit for name in LIMITS if type(limit := row.body.get(name)) is int)])
        max_tokens = (max_tokens or route.longest_tokens(self._settings, name)) * samples if samples > 1 else max_tokens
        item = Item(row.row, msgspec.json.encode(row.body), tokens, int(max_tokens), row.custom_id)
        prefix = item.body[:PREFIX_CHARS]
        expected = self.expect(name, item.max_tokens, asker.options)
        return Asked(item, name, prefix, expected, form_of(asker.options))

    def cut(
        self, asker: Asker, asked: list[Asked], generation: int, first_row: int, chunk: Chunk, mark: str = "",
        purpose: str = "answer",
    ) -> None:  # fmt: skip
        """Batches with their heads; adds their counters. An id says which rows its batch has; `mark` keeps those of other kinds
        apart."""
        for number, (group, batch) in enumerate(pack(asked, self.rates, asker.options.deadline_s, self.groups)):
            items = [one.item for one in batch]
            payload, name = wire.pack_items(items), f"{mark}{number}-{cut_of(items)}"
            tokens_in = sum(one.item.input_tokens for one in batch)
            tokens_out = sum(one.output_tokens for one in batch)
            head = BatchHead(
                wire.batch_id(asker.id, generation, first_row, name), asker.id, batch[0].route, generation, len(batch),
                tokens_in, tokens_out, sum(work(o.item.input_tokens, o.output_tokens) for o in batch),
                self._ledger.cloud_estimate_pusd(batch[0].route, tokens_in, tokens_out, len(batch)),
                len(payload), purpose, group, sum(item.max_tokens for item in items),
            )  # fmt: skip
            chunk.batches.append((head, payload))
            chunk.counts.update(open=1, held_rows=len(batch), held_bytes=len(payload))

    def ask_again(self, asker: Asker, rows: list[Row], routes: list[str]) -> list[Asked]:
        """Rows of a retry or resume, on the routes that they had."""
        tokens = self._count(asker, rows)
        return [self._asked(asker, row, name, count) for row, name, count in zip(rows, routes, tokens, strict=True)]
