# SPDX-License-Identifier: MIT
"""``harness run PLAN`` and ``harness demo``: boot a guest, hot-add, record, judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.run.request import RunRequest
    from harness.run.run import RunResult

Accel = Annotated[str, typer.Option(metavar="auto|kvm|tcg", help="auto probes KVM and falls back to TCG.")]
Qemu = Annotated[str, typer.Option(metavar="PATH", help="The QEMU binary to use.")]
Backend = Annotated[
    str, typer.Option(metavar="qemu|libvirt", help="Start QEMU directly, or have libvirt do it.")
]
Connect = Annotated[
    str,
    typer.Option(metavar="URI", help="Where libvirt is, as for virsh -c; by default libvirt's own choice."),
]
Machine = Annotated[str, typer.Option(metavar="TYPE", help="QEMU's machine type.")]
Firmware = Annotated[str, typer.Option(metavar="PATH", help="A firmware file instead of QEMU's default.")]
Monitor = Annotated[
    bool, typer.Option("--monitor", help="Open a second, human monitor; its socket is named.")
]
Restore = Annotated[
    bool,
    typer.Option(
        "--restore",
        help="Begin from the guest's saved ready state, made on first use, instead of booting it.",
    ),
]
Kd = Annotated[
    bool, typer.Option("--kd", help="Listen on the guest's kernel debugger port (COM3) and record DbgPrint.")
]
Debugger = Annotated[
    bool,
    typer.Option(
        "--debugger", help="Hand that port to a real debugger, on a TCP port of this host that is named."
    ),
]
Plant = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Make the NT layer misbehave that delivers the callbacks; see demo --list-plants.",
    ),
]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="Where run directories are made.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of the run's nonces.")]
BootTimeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, help="How long the guest may take to boot.")
]
TestTimeout = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=1, help="How long the whole plan may take, once the guest is up."),
]
EvidenceTimeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0, help="How long collecting evidence may take, once the run failed."
    ),
]
Dump = Annotated[
    str, typer.Option(metavar="SIZE", help="Keep a dump of a failed guest's memory, if not larger than this.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("demo")(demo)
    app.command("run")(run)


def demo(
    accel: Accel = "auto",
    qemu: Qemu = "",
    backend: Backend = "qemu",
    connect: Connect = "",
    machine: Machine = "q35",
    firmware: Firmware = "",
    monitor: Monitor = False,
    restore: Restore = False,
    kd: Kd = False,
    debugger: Debugger = False,
    plant: Plant = "",
    list_plants: Annotated[bool, typer.Option("--list-plants", help="Explain the plants and stop.")] = False,
    runs: Runs = Path("runs"),
    seed: Seed = 0,
    boot_timeout: BootTimeout = 90.0,
    json: Json = False,
) -> int:
    """Boot the twin, hot-add a processor and a DIMM, show the callbacks in order and the verdict."""
    from harness.guest.fault_injection import INJECTED_FAULTS

    if list_plants:
        from harness.cli.output import say

        say(
            f"{name:23}{plant.does}\n{'':23}must be {plant.verdict} by {plant.rule}, in {plant.plan}"
            for name, plant in INJECTED_FAULTS.items()
        )
        return ExitCode.HOLDS
    return run(
        INJECTED_FAULTS[plant].plan if plant in INJECTED_FAULTS else "cpu-and-dimm",
        accel=accel,
        qemu=qemu,
        backend=backend,
        connect=connect,
        machine=machine,
        firmware=firmware,
        monitor=monitor,
        restore=restore,
        kd=kd,
        debugger=debugger,
        plant=plant,
        runs=runs,
        seed=seed,
        boot_timeout=boot_timeout,
        json=json,
    )


def run(
    plan: Annotated[
        str, typer.Argument(metavar="PLAN", help="A built-in plan's name, or the path of a TOML file.")
    ] = "",
    guest: Annotated[str, typer.Option(metavar="NAME", help="The guest to boot.")] = "twin",
    accel: Accel = "auto",
    qemu: Qemu = "",
    backend: Backend = "qemu",
    connect: Connect = "",
    machine: Machine = "q35",
    firmware: Firmware = "",
    monitor: Monitor = False,
    restore: Restore = False,
    kd: Kd = False,
    debugger: Debugger = False,
    plant: Plant = "",
    driver: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="The driver's file, or its folder, for guests that execute one; by default one made on the spot.",
        ),
    ] = "",
    driver_map: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Which of the driver's own trace events are which records (TOML), for a driver that is not hpnotify.",
        ),
    ] = "",
    list_plans: Annotated[
        bool, typer.Option("--list-plans", help="Name the built-in plans and stop.")
    ] = False,
    runs: Runs = Path("runs"),
    seed: Seed = 0,
    boot_timeout: BootTimeout = 90.0,
    test_timeout: TestTimeout = 3600.0,
    evidence_timeout: EvidenceTimeout = 120.0,
    dump: Dump = "",
    retry: Annotated[
        bool, typer.Option("--retry", help="Try once more if the infrastructure fails; both runs are kept.")
    ] = False,
    retry_of: Annotated[
        str,
        typer.Option(
            metavar="RUN", help="This is the second attempt of that run, whose infrastructure failed."
        ),
    ] = "",
    json: Json = False,
) -> int:
    """Execute a plan on a guest, record everything, judge it."""
    import os
    import sys

    from harness.cli.output import say
    from harness.run.executor import Timeouts
    from harness.run.plan import built_in_plans, find_plan
    from harness.run.request import RunRequest
    from harness.setup.cache import cache_directory

    if list_plans:
        say(f"{found.name:18}{found.summary}" for found in built_in_plans().values())
        return ExitCode.HOLDS
    if kd and debugger:
        raise UsageError(
            "--kd and --debugger exclude each other: one port has one listener",
            hint="Leave out --kd to debug, or --debugger to record what drivers print.",
        )
    request = RunRequest(
        plan=find_plan(plan),
        guest=guest,
        accelerator=accel,  # type: ignore[arg-type] # RunRequest refuses other names itself
        qemu=qemu,
        backend=backend,
        connect=connect,
        machine=machine,
        firmware=firmware,
        monitor=monitor,
        restore=restore,
        kd="debugger" if debugger else "listen" if kd else "",
        plant=plant,
        driver=driver,
        driver_map=driver_map,
        runs=runs,
        cache=cache_directory(os.environ),
        seed=seed,
        argv=sys.argv,
        budget=Timeouts(boot=boot_timeout, test=test_timeout, evidence=evidence_timeout),
        dump=_dump_size(dump),
        attempt=2 if retry_of else 1,
        retry_of=retry_of,
    )
    return _perform(request, json=json, retry=retry)


def _dump_size(text: str) -> int:
    from harness.size import Size

    try:
        return Size(text) if text else 0
    except ValueError as error:
        raise UsageError(f"--dump: {error}", hint='For instance --dump "4 GiB".') from error


def _perform(request: RunRequest, *, json: bool, retry: bool) -> int:
    """Run, with the stage view on standard error and the result on standard output."""
    import signal

    from harness.report.stage_view import StageView
    from harness.run.run import perform

    # A polite end is an interruption: it takes the same way out, and is held back where Ctrl-C is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with StageView(quiet=json) as view:
        result = perform(request, listeners=(view,), retry=retry)
    show_result(result, json=json)
    return result.exit_code


def result_document(result: RunResult) -> dict[str, Any]:
    """Return what is said of a run to programs."""
    document: dict[str, Any] = {"directory": str(result.directory), "verdict": result.verdict}
    if result.failure_class is not None:
        document["failure_class"] = result.failure_class
    if result.first is not None:
        document["first_attempt"] = str(result.first.directory)
    if (error := result.error) is not None:
        document["error"] = {
            "message": error.message,
            "hint": error.hint,
            "class": error.failure_class,
            "stage": result.stage,
        }
    return document


def show_result(result: RunResult, *, json: bool) -> None:
    """Print what became of a run."""
    import sys

    from harness.cli.output import complain_of, say, say_json
    from harness.contract.explanation import explainer
    from harness.contract.verdict import Level
    from harness.report.escape import printable
    from harness.report.style import style_for
    from harness.report.timeline import HEADING, timeline
    from harness.report.verdict_text import evidence_lines, verdict_lines

    error = result.error
    if json:
        say_json(result_document(result))
        return
    if result.first is not None and result.first.error is not None:
        say(
            f"The first attempt, {result.first.directory}, failed: {printable(result.first.error.message, 300)}"
        )
    if error is not None and not any(
        rule.exercised for rule in result.verdict.rules if rule.level is not Level.GATE
    ):
        # Nothing was there to judge: the error is all there is to say.
        say(
            [
                *evidence_lines(result.directory, judged=False),
                f"Class: {result.failure_class}, in stage {result.stage}",
            ]
        )
        complain_of(error)
        return
    style, explain = style_for(sys.stdout), explainer(result.history)
    say([HEADING, *timeline(result.history, style=style), ""])
    say(verdict_lines(result.verdict, evidence=result.directory, explain=explain, style=style))
    if error is not None:
        complain_of(error)
