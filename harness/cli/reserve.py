# SPDX-License-Identifier: MIT
"""``harness reserve``: reserves this host, so that no nightly run starts a run on it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import say_result
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.cli.documents import ListedReservation, ReserveDocument
    from harness.host.reservation_file import Reservation


def reserve(
    host: Annotated[
        str,
        typer.Argument(
            metavar="[HOST]", help="This host's name; without it, show who has reserved the host."
        ),
    ] = "",
    until: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="End of the reservation: 18:00, 90m, 2h, 2026-11-30T18:00. At most a week."
        ),
    ] = "",
    why: Annotated[str, typer.Option(metavar="TEXT", help="Reason, shown to other users.")] = "",
    release: Annotated[
        bool, typer.Option("--release", help="Release your reservations; as root, those of all users.")
    ] = False,
    json: Json = False,
) -> int:
    """Reserve this host for interactive work: nightly runs start nothing on it until then. Your own runs continue."""
    from harness.host.end_time import EXAMPLES, read_end_time
    from harness.host.reservations import Reservations, described

    name = _here(host)
    place = Reservations()
    lines = []
    if release:
        if until or why:
            raise UsageError("--release takes neither --until nor --why", hint=_hint(name))
        released = place.release()
        lines = [f"released: {described(each)}" for each in released] or [
            "There was no reservation to release."
        ]
    elif until or why or host:
        if not host:
            raise UsageError("reserve needs the name of this host", hint=_hint(name))
        if not until:
            raise UsageError("reserve needs --until TIME", hint=EXAMPLES)
        now = time.time()
        made = place.make(until=read_end_time(until, what="--until", now=now), why=why, now=now)
        lines = [
            f"{name} is {described(made)}",
            "  Runs under way continue; nightly runs start no others until then.",
        ]
    current = place.current()
    document: ReserveDocument = {
        "host": name,
        "reservations": listed(current),
        "directory": str(place.place.path),
        "private": place.place.private,
    }
    if not lines:
        lines = [f"{name} is {described(each)}" for each in current] or [f"Nobody has reserved {name}."]
    if place.place.private:
        lines.append(f"  only this user's nightly runs respect it: {place.place.private}")
    say_result(document, lines, json=json)
    return ExitCode.HOLDS


def listed(found: list[Reservation]) -> list[ListedReservation]:
    """Return reservations in the form of the documents of this command and of ``harness ps``."""
    return [{"user": each.uid, "until": each.claim.until, "why": each.claim.why} for each in found]


def _here(host: str) -> str:
    """Return this host's name. Raises UsageError if ``host`` is another one."""
    name = os.uname().nodename
    short = name.partition(".")[0]
    if host and host.lower() not in {name.lower(), short.lower(), "localhost"}:
        raise UsageError(
            f"{host[:200]!r} is not this host's name, which is {name!r}",
            hint=f"Run the command on the host itself, for example: ssh {host[:100]} {_words(host[:100])}"
            if host.replace("-", "").replace(".", "").isalnum()
            else _hint(name),
        )
    return name


def _words(name: str) -> str:
    return invocation("reserve", name, "--until", "18:00", "--why", "a debugger is attached")


def _hint(name: str) -> str:
    return f"For example: {_words(name)}"
