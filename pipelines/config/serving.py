"""The section [api] of spillway.toml: what `spillway serve` serves, to whom, and the limits of one request."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from pipelines.config.checked import Duration, Names
from pipelines.config.sections import Section


class Jwt(Section):
    """Tokens of another system that are taken in place of a key; `secret` or `jwks` says who may sign them."""

    secret: SecretStr | None = None
    jwks: str | None = None
    client_claim: str = Field(default="sub", min_length=1)
    audience: str | None = None
    issuer: str | None = None


class Api(Section):
    """What `spillway serve` serves, and the limits of one request."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: Annotated[int, Field(ge=0, le=65_535)] = 8700
    admin_key: SecretStr | None = None
    cors_origins: Names = ()
    max_upload_bytes: Annotated[int, Field(ge=1)] = 1 << 30
    max_body_bytes: Annotated[int, Field(ge=1)] = 16 << 20
    requests_per_minute: Annotated[int, Field(ge=0)] = 60_000
    max_batch_rows: Annotated[int, Field(ge=0)] = 0
    any_window: bool = False
    keep_files: Duration = 30 * 86_400.0
    chat_wait: Duration = 120.0
    inbox_open: Annotated[Duration, Field(gt=0, le=3600)] = 30.0
    jwt: Jwt | None = None
