# SPDX-License-Identifier: MIT
"""``harness history``: queries the result store about all runs."""

from __future__ import annotations

import datetime
import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from harness.cli.lab_store import Into, Lab
from harness.cli.output import say, say_json
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.report.style import style_for

if TYPE_CHECKING:
    from harness.report.answer_table import AnswerTable
    from harness.store.database import Connection

    class Answer(Protocol):
        """The answer to a query."""

        def tables(self) -> list[AnswerTable]: ...  # noqa: D102


group = typer.Typer(help="Query the result store about all runs.", no_args_is_help=True)

StoreQuery = Callable[["Connection"], "Answer"]
"""What a command asks the store."""

Days = Annotated[float, typer.Option(metavar="N", min=0, max=100_000, help="Query the last N days.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the tables in Markdown.")]


def _answer(
    question: StoreQuery,
    into: Into = Path("nightly"),
    lab: Lab = None,
    markdown: Markdown = False,
    json: Json = False,
) -> int:
    """Query the store and print the answer."""
    from harness.cli.lab_store import address_of
    from harness.store.database import Database

    if markdown and json:
        raise UsageError("--markdown and --json cannot be combined")
    with Database.open(address_of(into, lab)) as store, store.reading() as connection:
        found = question(connection)
    if json:
        say_json(found)
    elif markdown:
        say(line for table in found.tables() for line in table.markdown())
    else:
        style = style_for(sys.stdout)
        for number, table in enumerate(found.tables()):
            say([*([""] if number else []), *table.lines(style)])
    return ExitCode.HOLDS


def _query(name: str) -> Callable[[Callable[..., StoreQuery]], Callable[..., int]]:
    """Return a decorator that makes a function, whose parameters are options, the command ``name``.

    The options of :func:`_answer` follow; a function that has one of them gets its value, too.
    """

    def decorate(ask: Callable[..., StoreQuery]) -> Callable[..., int]:
        own = inspect.signature(ask, eval_str=True).parameters
        _, *shared = inspect.signature(_answer, eval_str=True).parameters.values()
        parameters = [*(one for one in own.values() if one not in shared), *shared]

        @functools.wraps(ask)
        def command(**values: Any) -> int:
            question = ask(**{name: values[name] for name in own})
            return _answer(question, **{one.name: values[one.name] for one in shared})

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return group.command(name)(command)

    return decorate


@_query("runs")
def runs(
    last: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Number of runs.")] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that do not hold.")] = False,
) -> StoreQuery:
    """List the last runs and their results."""
    from harness.store.questions.last_runs import last_runs

    return lambda store: last_runs(store, count=last, failed=failed)


@_query("new")
def new(
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The nightly run; the last one by default.")
    ] = "",
) -> StoreQuery:
    """List what changed since the previous nightly run: failures that are new, persist, are flaky or are gone."""
    from harness.store.questions.nightly_comparison import nightly_comparison

    return lambda store: nightly_comparison(store, name=name)


@_query("rule")
def rule(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A rule, e.g. SYNC-EXACTLY-TWO.")],
    days: Days = 30,
) -> StoreQuery:
    """Show when a rule last held and when it broke, by guest build, QEMU build and driver digest."""
    from harness.store.questions.rule_past import rule_past

    beginning = _since(days)
    return lambda store: rule_past(store, rule, days=days, beginning=beginning)


@_query("flaky")
def flaky(days: Days = 30) -> StoreQuery:
    """List matrix points with different results on one build, with their rates and confidence intervals."""
    from harness.store.questions.flaky import flaky as ask

    return _of_days(ask, days)


@_query("incidents")
def incidents(days: Days = 30) -> StoreQuery:
    """List failures by signature: one line for all runs with the same failure."""
    from harness.store.questions.incidents import incidents as ask

    return _of_days(ask, days)


@_query("known")
def known(days: Days = 30, lab: Lab = None) -> StoreQuery:
    """List which known issues of the lab still occur, and which have expired."""
    from harness.cli.lab_store import lab_of
    from harness.store.questions.known import known_issues

    beginning = _since(days)
    document, _ = lab_of(lab)
    rows = document.known if document is not None else []
    today = datetime.datetime.now(datetime.UTC).date()
    return lambda store: known_issues(store, rows, days=days, beginning=beginning, today=today)


@_query("slow")
def slow(days: Days = 30) -> StoreQuery:
    """List the slowest runs, and percentiles and drift of boot, restore and adds of each guest on each host."""
    from harness.store.questions.slow import slow as ask

    return _of_days(ask, days)


@_query("hosts")
def hosts(days: Days = 30) -> StoreQuery:
    """List the results of each host, and name the hosts that differ from the others in results or times."""
    from harness.store.questions.host_comparison import host_comparison

    return _of_days(host_comparison, days)


@_query("never")
def never(days: Days = 30) -> StoreQuery:
    """List the rules that no run exercised, and the points of the matrix that were not run."""
    from harness.store.questions.never import never as ask

    return _of_days(ask, days)


def _since(days: float) -> int:
    from harness.store.questions.moment import since

    return since(days)


def _of_days(question: Callable[..., Answer], days: float) -> StoreQuery:
    """Return the question about the last ``days``."""
    beginning = _since(days)
    return lambda store: question(store, days=days, beginning=beginning)
