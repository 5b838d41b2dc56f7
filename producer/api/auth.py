"""Who asks: a client by its key or, where configured, by a signed token; the admin by a key of its own.

`Authorization: Bearer …` or `x-api-key: …`. Nothing here says what a client may see: objects carry their owner.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from pipelines.config.sections import NAME
from pipelines.config.serving import Jwt
from pipelines.errors import ConfigError
from producer import clients
from producer.api.errors import ApiError
from producer.api.limits import take_place
from producer.api.state import Here, State

KEY_MAX_CHARS = 8192
LEEWAY_S = 30


class Identity(NamedTuple):
    """Who asks. The admin's key of the configuration has no client of its own: `client` is empty then."""

    client: str
    admin: bool = False


_bearer = HTTPBearer(auto_error=False, description="A client's key; `x-api-key` is taken too.")
"""For the description of the API alone: what is wrong with a key is said below."""


async def identify(request: Request, here: Here, _: Annotated[object, Depends(_bearer)]) -> Identity:
    """401 for nobody, 429 for a client that asks too often, or too much at once."""
    return await who(request, here)


async def who(request: Request, here: State) -> Identity:
    """`identify`, called by hand."""
    asked = await _known(request, here)
    take_place(request.scope, asked.client)
    return asked


async def _known(request: Request, here: State) -> Identity:
    key = _given(request)
    api = here.settings.api
    if api.admin_key is not None and _same(key, api.admin_key.get_secret_value()):
        return Identity("", admin=True)
    if api.jwt is not None and not key.startswith(clients.PREFIX):
        client = await asyncio.to_thread(_of_token, key, api.jwt)
        if (counted := await clients.count(here.redis, here.keys, client)) is None:
            raise _refused("Incorrect API key or token provided.", "invalid_api_key")
        _pace(api.requests_per_minute, *counted)
        return Identity(client)
    found = await here.finder.ask(key)
    if found is None:
        raise _refused("Incorrect API key provided.", "invalid_api_key")
    _pace(api.requests_per_minute, found.asked, found.resets_ms)
    return Identity(found.key.client, found.key.admin)


def _pace(most: int, asked: int, resets_ms: int) -> None:
    """429 for more requests in a minute than the configuration allows; 0 allows any number."""
    if 0 < most < asked:
        wait_s = max(1, -(-resets_ms // 1000))
        raise ApiError(
            429,
            f"Rate limit reached: {most} requests per minute. Try again in {wait_s} s.",
            code="rate_limit_exceeded",
            headers={"retry-after": str(wait_s), "retry-after-ms": str(max(1, resets_ms))},
        )


async def client_of(asked: Annotated[Identity, Depends(identify)]) -> Identity:
    if not asked.client:
        raise ApiError(403, "The admin key belongs to no client; use a client's key here.", code="no_client")
    return asked


async def _admin(asked: Annotated[Identity, Depends(identify)]) -> Identity:
    if not asked.admin:
        raise ApiError(403, "This needs an admin key.", code="admin_only")
    return asked


Caller = Annotated[Identity, Depends(client_of)]
"""A client: its name owns whatever it makes and sees."""
Admin = Annotated[Identity, Depends(_admin)]
Anyone = Annotated[Identity, Depends(identify)]
"""A client or the admin."""


def _given(request: Request) -> str:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key", "").strip()
    if not key:
        raise _refused("You didn't provide an API key: send it as `Authorization: Bearer …`.", "missing_api_key")
    if len(key) > KEY_MAX_CHARS:
        raise _refused("Incorrect API key provided.", "invalid_api_key")
    return key


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode())


def _refused(message: str, code: str) -> ApiError:
    return ApiError(401, message, code=code, headers={"www-authenticate": "Bearer"})


# -- signed tokens -----------------------------------------------------------------------------------------------------


def _of_token(token: str, said: Jwt) -> str:
    """The client that a token names; 401 for every token that is not wholly in order."""
    try:
        key, algorithm = _verifier(token, said)
        claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=said.audience,
            issuer=said.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", said.client_claim], "verify_aud": said.audience is not None},
        )
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        raise _refused("Incorrect API key or token provided.", "invalid_api_key") from None
    client = claims.get(said.client_claim)
    if not isinstance(client, str) or not NAME.fullmatch(client):
        raise _refused(f"The token's claim '{said.client_claim}' names no client.", "invalid_api_key")
    return client


def _verifier(token: str, said: Jwt) -> tuple[Any, str]:
    """The key that must have signed the token, and the one algorithm for it: never the token's own choice."""
    if said.secret is not None:
        return said.secret.get_secret_value(), "HS256"
    assert said.jwks is not None
    file = Path(said.jwks)
    keys = jwks(str(file), file.stat().st_mtime_ns if file.exists() else 0)
    kid = jwt.get_unverified_header(token).get("kid")
    return (keys[kid] if kid in keys or len(keys) != 1 else next(iter(keys.values()))), "RS256"


@lru_cache(maxsize=4)
def jwks(path: str, mtime_ns: int) -> dict[str | None, Any]:
    """The RSA keys of a JWKS file by their ids; read again when it changed. Raises ConfigError."""
    try:
        found = json.loads(Path(path).read_bytes())["keys"]
        return {each.get("kid"): jwt.PyJWK(each, "RS256").key for each in found if each.get("kty") == "RSA"}
    except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
        raise ConfigError(f"[api.jwt] jwks {path}: is no JWKS file of RSA keys ({error}); mend it") from None
