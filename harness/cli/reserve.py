# SPDX-License-Identifier: MIT
"""``harness reserve``: this host for one's own work, so that no nightly run starts anything on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.cli.documents import ListedReservation, ReserveDocument
    from harness.host.reservation_file import Reservation


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("reserve")(reserve)


def reserve(
    host: Annotated[
        str, typer.Argument(metavar="[HOST]", help="This host's name; without it, say who has reserved it.")
    ] = "",
    until: Annotated[
        str,
        typer.Option(metavar="TIME", help="Until when: 18:00, 90m, 2h, 2026-11-30T18:00. A week at most."),
    ] = "",
    why: Annotated[str, typer.Option(metavar="TEXT", help="What for; others read it.")] = "",
    release: Annotated[
        bool, typer.Option("--release", help="Give your reservations up; as root, those of all users.")
    ] = False,
    json: Json = False,
) -> int:
    """Reserve this host for work at a desk: nightly runs start nothing on it until then. Runs of your own go on."""
    import time

    from harness.cli.output import say, say_json
    from harness.host.end_time import EXAMPLES, read_end_time
    from harness.host.reservations import Reservations, described

    name = _here(host)
    place = Reservations()
    lines = []
    if release:
        if until or why:
            raise UsageError("--release takes neither --until nor --why", hint=_hint(name))
        released = place.release()
        lines = [f"released: {described(each)}" for each in released] or ["There was nothing to release."]
    elif until or why or host:
        if not host:
            raise UsageError("which host is to be reserved?", hint=_hint(name))
        if not until:
            raise UsageError("reserve needs --until TIME", hint=EXAMPLES)
        now = time.time()
        made = place.make(until=read_end_time(until, what="--until", now=now), why=why, now=now)
        lines = [
            f"{name} is {described(made)}",
            "  Runs that are under way go on; nightly runs start no other until then.",
        ]
    current = place.current()
    if json:
        document: ReserveDocument = {
            "host": name,
            "reservations": listed(current),
            "directory": str(place.place.path),
            "private": place.place.private,
        }
        say_json(document)
        return ExitCode.HOLDS
    if not lines:
        lines = [f"{name} is {described(each)}" for each in current] or [f"Nobody has reserved {name}."]
    if place.place.private:
        lines.append(f"  only this user's nightly runs heed it: {place.place.private}")
    say(lines)
    return ExitCode.HOLDS


def listed(found: list[Reservation]) -> list[ListedReservation]:
    """Return reservations as the documents of this command and of ``harness ps`` have them."""
    return [{"user": each.uid, "until": each.claim.until, "why": each.claim.why} for each in found]


def _here(host: str) -> str:
    """Return this host's name. Raises UsageError if ``host`` is another one."""
    import os

    name = os.uname().nodename
    short = name.partition(".")[0]
    if host and host.lower() not in {name.lower(), short.lower(), "localhost"}:
        raise UsageError(
            f"{host[:200]!r} is not this host, which is called {name!r}",
            hint=f"A host is reserved on the host itself, for example: ssh {host[:100]} {_words(host[:100])}"
            if host.replace("-", "").replace(".", "").isalnum()
            else _hint(name),
        )
    return name


def _words(name: str) -> str:
    return invocation("reserve", name, "--until", "18:00", "--why", "a debugger is attached")


def _hint(name: str) -> str:
    return f"For example: {_words(name)}"
