"""The status page: one table and a line per server, drawn without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from worker.simulator.core.bill import Sums
from worker.simulator.core.server import Sample, Server

WIDTH, HEIGHT = 600, 60
MOST_SHARES = 10
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}table{border-collapse:collapse}"
    "td,th{padding:.2rem .9rem .2rem 0;text-align:right}td:first-child,th:first-child{text-align:left}"
    "svg{background:#f4f4f2;display:block}.down{color:#b00020}h2{margin:1.6rem 0 .3rem}"
)
_COLUMNS = (
    "server",
    "model",
    "in flight",
    "busy slots",
    "queued",
    "requests/s",
    "calls",
    "delivered",
    "lost",
    "rejected",
    "USD",
)


def page(servers: Mapping[str, Server]) -> str:
    """The page as HTML; it reloads itself every two seconds."""
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(server))}</tr>" for server in servers.values())
    lines = "".join(_section(server) for server in servers.values())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
        f"<title>Spillway stand-in servers</title><style>{_STYLE}</style></head><body><h1>Stand-in servers</h1>"
        f"<table><tr>{head}</tr>{rows}</table>{lines}"
        '<p><a href="/bill">bill</a> · <a href="/bill/calls">billed calls</a></p></body></html>'
    )


def _cells(server: Server) -> list[str]:
    account, figures = server.account, server.figures()
    slots = server.engine.slots or "∞"
    name = escape(server.name) + (' <b class="down">down</b>' if server.is_down else "")
    return [
        name, escape(server.engine.loaded), str(server.in_flight), f"{figures['busy_slots']} of {slots}",
        str(figures["queued"]), f"{figures['requests_per_s']:.1f}", str(account.calls), str(account.delivered),
        str(account.lost), str(account.rejected), f"{account.cost_pusd / 1e12:.6f}",
    ]  # fmt: skip


def _section(server: Server) -> str:
    outcomes = (
        ", ".join(f"{escape(name)} {count}" for name, count in server.account.outcomes.most_common()) or "none yet"
    )
    shares = _shares("model", server.account.by_model) + _shares("client's key", server.account.by_key)
    line = _line(list(server.history))
    return f"<h2>{escape(server.name)}: busy slots</h2>{line}<p>Outcomes: {outcomes}</p><table>{shares}</table>"


def _shares(by: str, bills: Mapping[str, Sums]) -> str:
    """The bill by model or by client, the dearest first."""
    most = sorted(bills.items(), key=lambda each: (-each[1].cost_pusd, each[0]))[:MOST_SHARES]
    head = f"<tr><th>{by}</th><th>calls</th><th>tokens in</th><th>tokens out</th><th>USD</th></tr>" if most else ""
    return head + "".join(
        f"<tr><td>{escape(name) or 'none'}</td><td>{sums.answered}</td><td>{sums.input_tokens}</td>"
        f"<td>{sums.output_tokens}</td><td>{sums.cost_pusd / 1e12:.6f}</td></tr>"
        for name, sums in most
    )


def _line(samples: Sequence[Sample]) -> str:
    if len(samples) < 2:
        return "<p>No figures yet.</p>"
    top = max(1.0, max(sample.busy_slots for sample in samples))
    step = WIDTH / (len(samples) - 1)
    points = " ".join(
        f"{index * step:.1f},{HEIGHT - sample.busy_slots / top * (HEIGHT - 4):.1f}"
        for index, sample in enumerate(samples)
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="busy slots, highest {top:.1f}">'
        f'<polyline points="{points}" fill="none" stroke="#1b6ca8" stroke-width="1.5"/></svg>'
    )
