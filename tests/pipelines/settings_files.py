"""Configuration files for the tests of settings: the contract's example and a small one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError
from pipelines.settings import Settings, load_settings

CONTRACT = """
[spillway]
data = "data"
redis_url = "embedded"
timezone = "UTC"

[budget]
daily_usd = 10.00
monthly_usd = 200.00
alert_at = 0.8
emergency_cutoff_usd = 12.00

[targets.gpu]
lane = "local"
kind = "lmstudio"
base_url = "http://localhost:1234/v1"
model = "qwen2.5-14b-instruct"
max_concurrency = "auto"
watts = 350
usd_per_kwh = 0.30

[targets.mini]
lane = "cloud"
kind = "openai"
model = "gpt-4o-mini"
api_key = "env:OPENAI_API_KEY"
rpm = 5000
tpm = 2_000_000
provider_batch = true

[routes.small]
targets = ["gpu", "mini"]
models = ["gpt-4o-mini"]
dedupe = "semantic"
similarity = 0.95
reuse_for = "24h"

[routes.large]
targets = ["mini"]

[[rules]]
when = "complexity > 0.8 or 'pattern_recognition' in tags"
route = "large"
daily_limit = 20

[schedules.nightly]
cron = "0 2 * * *"
source = "inbox/*.jsonl"
deadline = "6h"

[clients.acme]
budget = { daily_usd = 5.00 }
weight = 1
markup = 0.20
"""

SMALL = """[targets.gpu]
kind = "lmstudio"
model = "q"

[routes.small]
targets = ["gpu"]

[[rules]]
when = "complexity > 0.8"
route = "small"
"""


def load(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None, **more: Any) -> Settings:
    file = tmp_path / "spillway.toml"
    file.write_text(text)
    return load_settings(file, environ=environ or {}, env_file=more.pop("env_file", None), **more)


def refused(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(tmp_path / "spillway.toml"), "FILE")
