"""`spillway targets check` of an address, at real stand-ins: what answers there is recognised, and nobody passes a budget by."""

from __future__ import annotations

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
