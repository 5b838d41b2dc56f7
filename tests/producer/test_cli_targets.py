"""`spillway targets` at real stand-ins: which server does nothing is said, what answers at an address is recognised, and nobody passes a
budget by."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support_program import CLOUD, GPU, Program
from tests.support_upstream import Upstream


def test_an_address_is_recognised_and_a_paid_one_refused(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": {**GPU, "personality": "vllm"}, "cloud": CLOUD}}) as upstream:
        settings = upstream.settings()
        home, paid = (settings["targets"][name]["base_url"] for name in ("gpu", "cloud"))
        program = Program(tmp_path, **settings)
        shown = program.run("targets", "check", home.removeprefix("http://").removesuffix("/v1")).stdout
        lines = f'[targets.NAME]\nkind = "vllm"\nlane = "local"\nbase_url = "{home}"\nmodel = "{GPU["model"]}"'
        assert lines in shown and "answered as" in shown
        before = len(upstream.calls())
        refused = program.run("targets", "check", paid, code=2)
        assert f"target cloud is at {paid}, and its calls cost money" in refused.stderr
        assert len(upstream.calls()) == before
        nobody = program.run("targets", "check", "http://127.0.0.1:9/v1", code=2)
        assert "nobody answers at http://127.0.0.1:9/v1" in nobody.stderr
        upstream.control("gpu", down=True)
        assert "failed: " in program.run("targets", "check", "gpu", code=3).stdout


def test_it_is_said_that_a_second_local_server_is_asked_nothing(tmp_path: Path) -> None:
    """As `plan` says it; who only looked at the targets saw two that were up."""
    with Upstream({"servers": {"gpu": GPU, "gpu2": GPU, "other": GPU, "cloud": CLOUD}}) as upstream:
        routes = {"small": {"targets": ["gpu", "gpu2", "cloud"]}, "big": {"targets": ["other", "cloud"]}}
        program = Program(tmp_path, upstream, routes=routes)
        idle = "route small: gpu2 asked nothing while gpu is up"
        shown = program.run("targets")
        assert shown.stderr.splitlines() == [idle]
        told = {row["name"]: row["idle"] for row in json.loads(program.run("targets", "--json").stdout)}
        assert told == {"gpu": "", "gpu2": idle, "other": "", "cloud": ""}
