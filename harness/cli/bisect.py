# SPDX-License-Identifier: MIT
"""``harness bisect RUN --qemu A B C``: finds the first build of QEMU or of the driver that shows a recorded
failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import complain, say_result
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.interrupts import interrupted_by, interruption
from harness.report.escape import printable

if TYPE_CHECKING:
    from harness.repro.build_bisection import BuildBisection

MOST_BUILDS = 1000


def bisect(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Directory of the failed run, 'latest', or its id in runs/."),
    ],
    builds: Annotated[
        list[str], typer.Argument(metavar="BUILD…", help="The builds, from the oldest to the newest.")
    ],
    qemu: Annotated[bool, typer.Option("--qemu", help="The builds are QEMU programs.")] = False,
    driver: Annotated[
        bool, typer.Option("--driver", help="The builds are drivers, as for harness run --driver.")
    ] = False,
    max_runs: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Maximum number of runs.")
    ] = 200,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Number of concurrent runs of one build.")
    ] = 1,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the run directories.")] = Path("runs"),
    json: Json = False,
) -> int:
    """Find the first bad build of a recorded failure, also of a flaky one, by repeating the run with different
    builds."""
    from harness.cli.run_set import run_named
    from harness.history.run_directory import lasting
    from harness.report.stage_view import StageView
    from harness.repro.build_bisection import bisect_builds
    from harness.repro.recorded_run import RepeatableRun, Signature
    from harness.repro.repetition import Repetition

    if qemu == driver:
        raise UsageError(
            "give --qemu or --driver, one of the two", hint="harness bisect RUN --driver OLD NEWER NEWEST"
        )
    if len(builds) > MOST_BUILDS:
        raise UsageError(
            f"expected at most {MOST_BUILDS} builds, got {len(builds)}", hint="Leave out some builds."
        )
    for place, build in enumerate(builds):
        if build in builds[:place]:
            raise UsageError(
                f"the build {build} is given twice", hint="Give each once, from the oldest to the newest."
            )
        if not Path(build).exists():
            raise UsageError(f"there is no build {build}", hint="Give paths, from the oldest to the newest.")
    recorded = RepeatableRun.read(lasting(run_named(run)))
    signature = Signature.of(recorded.verdict)
    if signature.verdict == "holds":
        raise UsageError(
            f"{recorded.directory} holds: it has no failure to look for", hint="Give the run that failed."
        )
    if fault := recorded.facts.fault:
        raise UsageError(
            f"{recorded.directory} has the injected fault {printable(fault, 60)}, which every build would get: all are bad",
            hint="Give a run that failed without an injected fault.",
        )
    words = ["repro", str(recorded.directory), "--json", "--anyway", "--runs", str(runs)]
    with StageView(quiet=json) as view:

        def done(build: str, one: Repetition) -> None:
            view.say(f"{printable(build, 200)}: {printable(str(one), 300)}")

        found = bisect_builds(
            words,
            signature,
            "qemu" if qemu else "driver",
            builds,
            most=max_runs,
            at_once=jobs,
            done=done,
        )
    say_result(found, _lines(found), json=json)
    if found.interrupted:
        complain(interrupted_by(interruption()))
        return 128 + interruption()
    return ExitCode.HOLDS if found.decided else ExitCode.UNKNOWN


def _lines(found: BuildBisection) -> Iterator[str]:
    yield f"signature: {found.signature}"
    for one in found.builds:
        counts = "cannot run" if one.cannot_run else f"{one.shown} of {one.shown + one.clean} runs"
        yield f"{one.probability:7.1%}  {counts:<18} {printable(one.build, 200)}"
        if one.cannot_run:
            yield f"{'':<29}{printable(one.cannot_run, 300)}"
    yield f"{found.none_probability:7.1%}  no build is bad"
    count = f"{len(found.runs)} run{'s' if len(found.runs) != 1 else ''}"
    if found.first_bad is not None:
        yield f"first bad build: {printable(found.first_bad, 200)} ({count})"
        if found.or_before:
            yield f"or one before it that cannot run: {', '.join(printable(one, 200) for one in found.or_before)}"
        if found.builds[0].build in (found.first_bad, *found.or_before):
            yield "the oldest given build is already bad: an older one may be, too"
    elif found.decided:
        yield f"no build is bad ({count})"
        if found.or_before:
            yield f"but these cannot run: {', '.join(printable(one, 200) for one in found.or_before)}"
    else:
        yield f"{'interrupted' if found.interrupted else 'undecided'} after {count}"
