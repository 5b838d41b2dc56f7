"""The endpoints of OpenAI's that can be asked: what a request to each is as a chat completion, and what its answer looks like.

Another endpoint is a file with these two functions and a line here; the engine knows chat completions alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipelines.dialects import responses
from pipelines.dialects.completions import Row, completion_json

CHAT_URL, RESPONSES_URL = "/v1/chat/completions", "/v1/responses"


class Endpoint(NamedTuple):
    asks: str
    """The field of a request that holds what is asked."""
    chat: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """A request's body as a chat completion's; raises responses.Cannot."""
    answer: Callable[[Row], Any]
    """The body of the answer to a row of results.parquet."""


ENDPOINTS: Mapping[str, Endpoint] = {
    CHAT_URL: Endpoint("messages", lambda body: body, completion_json),
    RESPONSES_URL: Endpoint("input", responses.chat, responses.response),
}
