"""The list of commands. Each lives in the file of its group; heavy libraries are imported when a command runs."""

from __future__ import annotations

import typer

from producer.cli import (
    bench,
    budget,
    clients,
    doctor,
    plan,
    rehearse,
    report,
    results,
    run,
    runs,
    schedules,
    serve,
    targets,
    worker,
)

app = typer.Typer(
    name="spillway",
    help="Answers piles of prompts for the least money: local GPU first, surplus to the cloud, nothing paid twice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
limits = typer.Typer(help="Show and set spending limits.", no_args_is_help=True, rich_markup_mode=None)
keys = typer.Typer(help="Make and revoke the keys of HTTP clients.", no_args_is_help=True, rich_markup_mode=None)
clock = typer.Typer(help="Runs by the clock.", no_args_is_help=True, rich_markup_mode=None)

app.command("run")(run.run)
app.command("submit")(run.submit)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("status")(runs.status)
app.command("cancel")(runs.cancel)
app.command("retry")(runs.retry)
app.command("results")(results.results)
app.command("report")(report.report)
app.command("plan")(plan.plan)
app.command("targets")(targets.targets)
app.command("bench")(bench.bench)
app.command("simulate")(rehearse.simulate)
app.command("doctor")(doctor.doctor)
app.add_typer(limits, name="budget")
limits.command("show")(budget.show)
limits.command("set")(budget.set_)
app.add_typer(keys, name="clients")
keys.command("add")(clients.add)
keys.command("list")(clients.list_)
keys.command("rotate")(clients.rotate)
keys.command("disable")(clients.disable)
app.add_typer(clock, name="schedules")
clock.command("list")(schedules.schedules_list)
clock.command("run")(schedules.schedules_run)


@app.callback()
def _program() -> None:
    """Answers piles of prompts for the least money: local GPU first, surplus to the cloud, nothing paid twice."""
