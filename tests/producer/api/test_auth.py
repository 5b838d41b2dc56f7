"""Keys, tokens and limits of the server: who passes, who does not, and what they are told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, Server, serving

SECRET = "a secret of thirty-two bytes or more"  # noqa: S105
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Server]:
    jwt_section = {"secret": SECRET, "client_claim": "tenant", "audience": "spillway"}
    api = {"admin_key": ADMIN, "max_body_bytes": 4096, "requests_per_minute": 40, "jwt": jwt_section}
    with serving(Program(tmp_path_factory.mktemp("auth"), api=api), redis_url=redis_url) as found:
        yield found


def error(reply: Any) -> dict[str, Any]:
    assert set(reply.json()) == {"error"} and set(reply.json()["error"]) == {"message", "type", "param", "code"}
    found: dict[str, Any] = reply.json()["error"]
    return found


def get(server: Server, key: str | None, path: str = "/v1/clients", **headers: str) -> Any:
    with server.http(None) as http:
        return http.get(path, headers={**({"authorization": f"Bearer {key}"} if key else {}), **headers})


def token(claims: dict[str, Any] | None = None, key: str = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    given = {"tenant": "acme", "aud": "spillway", "exp": time.time() + 600, **(claims or {})}
    return jwt.encode({n: v for n, v in given.items() if v is not None}, key, algorithm, headers=headers)


def test_health_needs_no_key_and_every_reply_has_an_id(server: Server) -> None:
    reply = get(server, None, "/health")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok", "workers": 0})
    assert reply.headers["x-request-id"].startswith("req_")
    assert get(server, None, "/health", **{"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert get(server, None, "/health", **{"x-request-id": "a b"}).headers["x-request-id"] != "a b"


@pytest.mark.parametrize("key", [None, "x", "sk-spill-" + "a" * 43, "x" * 9000, b"\xff\xfe key"])
def test_who_has_no_key_is_told_the_same_and_nothing_else(server: Server, key: str | bytes | None) -> None:
    reply = get(server, None, **({} if key is None else {"x-api-key": key}))  # type: ignore[arg-type]
    assert reply.status_code == 401 and error(reply)["type"] == "authentication_error"
    assert error(reply)["code"] in ("missing_api_key", "invalid_api_key")


def test_a_key_passes_by_either_header_and_is_kept_as_a_hash_only(server: Server, redis_url: str) -> None:
    key = server.key("hashed")
    assert get(server, key).status_code == 403 and error(get(server, key))["code"] == "admin_only"
    assert get(server, None, **{"x-api-key": key}).status_code == 403
    from redis import Redis

    with Redis.from_url(redis_url, decode_responses=True) as redis:
        kept = json.dumps([redis.hgetall("spillway:clients"), redis.hgetall("spillway:client-keys")])
    assert key not in kept and key[len("sk-spill-") + 8 :] not in kept and "hashed" in kept


def test_the_admin_makes_rotates_and_disables_keys(server: Server) -> None:
    with server.http(None) as http:
        http.headers["x-api-key"] = ADMIN
        made = http.post("/v1/clients", json={"name": "made"}).json()
        assert get(server, made["key"]).status_code == 403
        again = http.post("/v1/clients", json={"name": "made"})
        assert again.status_code == 409 and again.headers["x-should-retry"] == "false"
        new = http.post("/v1/clients/made/rotate").json()
        assert get(server, made["key"]).status_code == 401 and get(server, new["key"]).status_code == 403
        assert http.post("/v1/clients/made/disable").json()["disabled"] is True
        assert get(server, new["key"]).status_code == 401
        assert http.post("/v1/clients/nobody/rotate").status_code == 404
        assert http.post("/v1/clients", json={"name": "a b"}).status_code == 400
        listed = http.get("/v1/clients").json()["data"]
        assert "made" in [each["client"] for each in listed] and "digest" not in listed[0]


def test_the_command_does_the_same_and_says_so(server: Server, redis_url: str) -> None:
    program, where = server.program, ("--redis", redis_url)
    key = program.run("clients", "add", "told", *where).stdout.strip()
    assert "rotate" in program.run("clients", "add", "told", *where, code=2).stderr
    new = program.run("clients", "rotate", "told", *where).stdout.strip()
    assert key != new and get(server, key).status_code == 401 and get(server, new).status_code == 403
    program.run("clients", "disable", "told", *where)
    assert get(server, new).status_code == 401
    assert new not in program.run("clients", "list", "--json", *where).stdout
    assert program.run("clients", "rotate", "nobody", *where, code=2).stderr.startswith("spillway: no client")


def test_an_admin_key_in_redis_manages_clients_too(server: Server) -> None:
    assert get(server, server.key("boss", admin=True)).status_code == 200


@pytest.mark.parametrize(
    ("claims", "key"),
    [
        ({"exp": 1}, SECRET),
        ({"exp": None}, SECRET),
        ({"aud": "other"}, SECRET),
        ({"tenant": None}, SECRET),
        ({"tenant": "a b"}, SECRET),
        ({"tenant": 7}, SECRET),
        ({}, "another secret of thirty-two bytes"),
    ],
)
def test_a_token_that_is_not_in_order_is_refused(server: Server, claims: dict[str, Any], key: str) -> None:
    assert get(server, token(claims, key)).status_code == 401


def test_a_signed_token_is_a_client_and_one_without_signature_is_nobody(server: Server) -> None:
    assert error(get(server, token()))["code"] == "admin_only"
    assert get(server, token(key="", algorithm="none")).status_code == 401


def test_a_client_that_is_disabled_comes_by_no_token_either(server: Server, redis_url: str) -> None:
    program, where = server.program, ("--redis", redis_url)
    with server.http(None) as http:
        http.headers["x-api-key"] = ADMIN
        assert get(server, token({"tenant": "leaver"})).status_code == 403, "it comes by tokens, and has no key at all"
        assert http.post("/v1/clients/leaver/disable").json()["disabled"] is True
        assert get(server, token({"tenant": "leaver"})).status_code == 401
        assert get(server, token({"tenant": "stayer"})).status_code == 403
        again = http.post("/v1/clients/leaver/rotate").json()["key"]
        assert get(server, token({"tenant": "leaver"})).status_code == get(server, again).status_code == 403
    assert "leaver" in program.run("clients", "disable", "leaver", *where).stdout
    assert get(server, token({"tenant": "leaver"})).status_code == get(server, again).status_code == 401
    assert program.run("clients", "disable", "never-seen", *where).stdout.startswith("client never-seen: it is refused")
    assert get(server, token({"tenant": "never-seen"})).status_code == 401
    assert "never-seen" in program.run("clients", "list", *where).stdout
    assert program.run("clients", "disable", "no name!", *where, code=2).stderr.startswith("spillway: no client")


def test_rs256_takes_the_key_that_the_file_names_and_no_other(tmp_path: Path) -> None:
    """In process: what counts is the verifier, and a second server costs seconds."""
    from pipelines.config.serving import Jwt
    from producer.api.auth import _of_token
    from producer.api.errors import ApiError

    ours, theirs = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    public = json.loads(RSAAlgorithm.to_jwk(ours.public_key()))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{**public, "kid": "k1"}]}))
    said = Jwt(jwks=str(tmp_path / "keys.json"), client_claim="tenant", audience="spillway")
    assert _of_token(token(key=ours, algorithm="RS256", kid="k1"), said) == "acme"  # type: ignore[arg-type]
    forged = [
        token(key=theirs, algorithm="RS256", kid="k1"),  # type: ignore[arg-type]
        token(key=public["n"], algorithm="HS256", kid="k1"),  # the public key taken for a secret
    ]
    for each in forged:
        with pytest.raises(ApiError) as refused:
            _of_token(each, said)
        assert refused.value.status_code == 401


def test_keys_of_tokens_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    file, program = tmp_path / "keys.json", tmp_path / "program"
    program.mkdir()
    old, new = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))

    def write(**keys: rsa.RSAPrivateKey) -> None:
        public = [{**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": kid} for kid, key in keys.items()]
        (tmp_path / "next").write_text(json.dumps({"keys": public}))
        (tmp_path / "next").replace(file)

    def asks(key: rsa.RSAPrivateKey, kid: str) -> int:
        return int(get(server, token({"aud": None}, key, "RS256", kid=kid)).status_code)  # type: ignore[arg-type]

    write(old=old)
    said = {"jwks": str(file), "client_claim": "tenant"}
    with serving(Program(program, api={"admin_key": ADMIN, "jwt": said})) as server:
        assert (asks(old, "old"), asks(new, "new")) == (403, 401)
        write(old=old, new=new)
        assert (asks(old, "old"), asks(new, "new"), asks(new, "old")) == (403, 403, 401)
        write(new=new)
        assert (asks(old, "old"), asks(new, "new")) == (401, 403)
        file.write_text("{half")
        assert asks(new, "new") == 503, "nobody passes, and who asks may come again"
        write(new=new)
        assert asks(new, "new") == 403
    assert not [each for each in server.said if "Traceback" in each] and [
        each for each in server.said if str(file) in each
    ]


def test_too_large_is_told_before_it_is_read(server: Server) -> None:
    with server.http("hashed") as http:
        assert http.post("/v1/clients", content=b"x" * 5000).status_code == 413
        assert http.post("/v1/clients", content=iter([b"x" * 3000] * 2), headers=JSON).status_code == 413
        assert http.get("/health", headers={"x-long": "x" * 40_000}).status_code in (400, 431)


def test_what_is_unknown_or_wrong_has_the_one_shape(server: Server) -> None:
    with server.http(None) as http:
        assert error(http.get("/v1/nothing"))["message"].startswith("Unknown request URL: GET /v1/nothing")
        assert error(http.put("/health"))["type"] == "invalid_request_error"
        http.headers["x-api-key"] = ADMIN
        wrong = http.post("/v1/clients", json={"name": 7})
        assert wrong.status_code == 400 and error(wrong)["param"] == "name"
        assert error(http.post("/v1/clients", content=b"{", headers=JSON))["code"] == "invalid_json"


def test_who_asks_too_often_waits_and_others_do_not(server: Server) -> None:
    key = server.key("hasty")
    replies = [get(server, key).status_code for _ in range(41)]
    assert replies == [403] * 40 + [429]
    reply = get(server, key)
    assert error(reply)["code"] == "rate_limit_exceeded" and 1 <= int(reply.headers["retry-after"]) <= 60
    assert get(server, server.key("patient")).status_code == 403
    replies = [get(server, token({"tenant": "hasty-too"})).status_code for _ in range(41)]
    assert replies == [403] * 40 + [429], "a token is counted like a key"
    assert get(server, token({"tenant": "patient-too"})).status_code == 403


def test_no_page_of_another_origin_may_ask(server: Server) -> None:
    assert "access-control-allow-origin" not in get(server, None, "/health", origin="https://evil.example").headers
