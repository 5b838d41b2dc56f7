"""Stand-in upstream servers: real HTTP on loopback, one file per vendor's personality, and a bill of their own."""

from worker.simulator.core.app import Running, main, read_scenario, serve
from worker.simulator.core.personality import parse_scenario
from worker.simulator.demo import DEMO, scenario_settings

__all__ = ["DEMO", "Running", "main", "parse_scenario", "read_scenario", "scenario_settings", "serve"]
