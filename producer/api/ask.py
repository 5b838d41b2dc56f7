"""What a native run is asked with: prompts or a file, and options; checked before anything is written or booked."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipelines.config.sections import duration_s
from pipelines.errors import ConfigError
from pipelines.money import usd_to_nusd
from pipelines.quality import compile_schema
from pipelines.route import allowed
from pipelines.types import Options
from producer.api.bodies import RAW, UNREADABLE, json_object
from producer.api.errors import ApiError
from producer.api.state import State
from producer.api.upload import Form

PAIRS_MAX, KEY_MAX_CHARS, VALUE_MAX_CHARS = 16, 64, 512
TEXT_MAX_CHARS = 16 << 10
LABELS_MAX, LABEL_MAX_CHARS = 1000, 200
DEADLINE_MAX_S = 365 * 86_400.0
ROW = {"type": ["string", "object"], "examples": ["Name a colour.", {"prompt": "Name a fruit.", "id": "a"}]}

Name = Annotated[str, StringConstraints(min_length=1, max_length=KEY_MAX_CHARS)]
Value = Annotated[str, StringConstraints(max_length=VALUE_MAX_CHARS)]
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LABEL_MAX_CHARS)]


class Terms(BaseModel):
    """The options of `spillway run`, with its names."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    route: str | None = Field(default=None, description="Send every row this way.")
    template: str | None = Field(
        default=None, max_length=TEXT_MAX_CHARS, description="Jinja2; its fields are the row's columns."
    )
    output_schema: dict[str, Any] | None = Field(
        default=None, alias="schema", description="JSON Schema that every answer must meet."
    )
    labels: list[Label] | None = Field(
        default=None, min_length=2, max_length=LABELS_MAX, description="Every answer must be one of these."
    )
    deadline: str | None = Field(default=None, max_length=40, description="Finish in this time: 45s, 30m, 2h, 1d.")
    budget_usd: Annotated[Decimal, Field(ge=0, le=10**9)] | None = Field(
        default=None, description="Most that this run may spend."
    )
    dedupe: Literal["off", "exact", "semantic"] | None = Field(default=None, description="Default: the route's own.")
    fresh: bool = Field(default=False, description="Reuse no answer of an earlier run.")
    metadata: dict[Name, Value] = Field(default_factory=dict, max_length=PAIRS_MAX)


class Asked(NamedTuple):
    """A request that is in order, with one of `prompts`, `file_id` and `form`."""

    terms: Terms
    options: Options
    prompts: list[msgspec.Raw] | None = None
    file_id: str | None = None
    form: Form | None = None


def document(*, form: bool) -> dict[str, Any]:
    """The request body for the description of the API; it is read by hand."""
    schema = Terms.model_json_schema()
    fields = {
        **schema["properties"],
        "prompts": {"type": "array", "items": ROW, "minItems": 1, "description": "Rows; this or file_id."},
        "file_id": {"type": "string", "description": "An uploaded file of rows."},
    }
    content: dict[str, Any] = {
        "application/json": {
            "schema": {
                "type": "object", "properties": fields, "additionalProperties": False,
                "oneOf": [{"required": ["prompts"]}, {"required": ["file_id"]}],
            },
            "example": {"prompts": ["Name a colour.", "Name a fruit."], "deadline": "2h"},
        }
    }  # fmt: skip
    if form:
        content["multipart/form-data"] = {
            "schema": {
                "type": "object", "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "JSON lines, CSV or Parquet."},
                    "options": {"type": "string", "description": "The options as a JSON object.", "enum": ["{}"]},
                },
            }
        }  # fmt: skip
    return {"requestBody": {"required": True, "content": content}}


def of_body(here: State, client: str, body: bytes) -> Asked:
    """`{"prompts": […] or "file_id", …options}`."""
    given: dict[str, msgspec.Raw] = json_object(body, RAW)
    prompts, file_id = given.pop("prompts", None), given.pop("file_id", None)
    if (prompts is None) == (file_id is None):
        message = "Give either 'prompts' or 'file_id'."
        raise ApiError(400, message, code="missing_required_parameter", param="prompts")
    terms = _terms(given)
    options = _options(here, client, terms)
    if prompts is not None:
        return Asked(terms, options, prompts=_prompts(prompts))
    name = msgspec.json.decode(file_id or b"")
    if type(name) is not str:
        raise ApiError(400, "Invalid type for 'file_id': expected a string.", code="invalid_type", param="file_id")
    return Asked(terms, options, file_id=name)


def of_form(here: State, client: str, form: Form) -> Asked:
    """A file, and the field `options` beside it."""
    for name in form.fields:
        if name != "options":
            raise ApiError(400, f"Unknown field '{name[:60]}'; give 'file' and 'options'.", param=name[:60])
    terms = _terms(json_object(form.fields.get("options", "{}").encode("utf-8", "replace"), RAW, "The field 'options'"))
    return Asked(terms, _options(here, client, terms), form=form)


def rows(prompts: list[msgspec.Raw]) -> list[bytes]:
    """Prompts as lines of a file; a text is the row that has it as its prompt, and whatever is no row ends as invalid."""
    lines = (bytes(each).replace(b"\n", b" ").replace(b"\r", b" ") for each in prompts)
    return [b'{"prompt":' + line + b"}\n" if line.startswith(b'"') else line + b"\n" for line in lines]


def _terms(given: dict[str, msgspec.Raw]) -> Terms:
    try:
        return Terms.model_validate({name: msgspec.json.decode(raw) for name, raw in given.items()})
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None
    except UNREADABLE:
        raise ApiError(400, "The options are not JSON that can be read.", code="invalid_json") from None


def _prompts(raw: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        prompts = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except UNREADABLE:
        raise ApiError(
            400, "Invalid type for 'prompts': expected an array.", code="invalid_type", param="prompts"
        ) from None
    if not prompts:
        raise ApiError(400, "Invalid 'prompts': the array is empty.", code="empty_array", param="prompts")
    return prompts


def _options(here: State, client: str, terms: Terms) -> Options:
    """The options as a run stores them; ApiError for nonsense."""
    if terms.labels and terms.output_schema is not None:
        raise _wrong("labels", "labels and schema exclude each other")
    may = allowed(here.settings, client)
    if terms.route is not None and terms.route not in may:
        raise _wrong(
            "route", f"there is no route '{terms.route[:80]}'; there are {', '.join(sorted(may))[:300] or 'none'}"
        )
    return Options(
        route=terms.route,
        template=_template(terms.template),
        schema=_schema(terms.output_schema),
        labels=tuple(dict.fromkeys(terms.labels)) if terms.labels else None,
        deadline_s=_deadline_s(terms.deadline),
        budget_nusd=None if terms.budget_usd is None else usd_to_nusd(terms.budget_usd),
        dedupe=terms.dedupe,
        keep_response=here.settings.spillway.keep_response,
    )


def _template(text: str | None) -> str | None:
    if text is None:
        return None
    from pipelines.rendering import compile_template, refuse_unbounded

    try:
        compile_template(text)
        refuse_unbounded(text)
    except ConfigError as error:
        raise _wrong("template", str(error)) from None
    return text


def _schema(given: dict[str, Any] | None) -> str | None:
    if given is None:
        return None
    text = msgspec.json.encode(given).decode()
    if len(text) > TEXT_MAX_CHARS:
        raise _wrong("schema", f"it has more than {TEXT_MAX_CHARS} characters")
    try:
        compile_schema(text)
    except (ConfigError, ValueError) as error:
        raise _wrong("schema", str(error)) from None
    return text


def _deadline_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = duration_s(text)
    except ValueError as error:
        raise _wrong("deadline", f"it {error}") from None
    if not 0 < seconds <= DEADLINE_MAX_S:
        raise _wrong("deadline", "it must be more than nothing and at most a year")
    return seconds


def _wrong(param: str, why: str) -> ApiError:
    return ApiError(400, f"Invalid '{param}': {why}.", code="invalid_value", param=param)
