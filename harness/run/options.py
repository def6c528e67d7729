# SPDX-License-Identifier: MIT
"""The options of a run, each declared once for all doors: the commands, ``lab.toml``, the pytest plugin, ``run.json``.

To add an option, add a field to :class:`RunOptions`; its :class:`~harness.run.option.Option` defines it in
all doors. Defaults of one door only are in :data:`DEFAULTS`.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from harness.capture.live.channel_limits import ChannelLimits
from harness.errors import UsageError
from harness.invocation import invocation
from harness.run.option import Door, Option, options_of
from harness.size import Size

WEEK = 7 * 24 * 3600
MIB = 1 << 20
MANY = 100_000_000
NOTHING = Size("0 B")
A_CHANNEL, A_RUN = Size("64 MiB"), Size("256 MiB")

SAME = f"a run is repeated as it was recorded; to make another one: {invocation('run', 'PLAN')}"
DEMO = "the demo is the twin's, with the harness's own driver"
ALONE = "a nightly run is not interactive"
CHECKER = "it tests the checker, not a guest"
INTERACTIVE = f"it is for interactive use: {invocation('repro', 'RUN', '--step', 'N')}"
ALWAYS = "it always tries once more"
LAB = "the tables [[guest]], [[qemu]] and [[topology]] set it"


def _guests() -> Iterable[str]:
    from harness.guest.guest_types import GUEST_TYPES

    return GUEST_TYPES


def _backends() -> Iterable[str]:
    from harness.machine.backend import BACKENDS

    return BACKENDS


def _faults() -> Iterable[str]:
    from harness.guest.fault_injection import ALL_FAULTS

    return ALL_FAULTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds, separately for the set-up, the test and the evidence, so that none of them uses another's time.

    Set-up: ``boot``; building an image, probing KVM and starting QEMU have their own limits. Test: ``test``,
    a whole plan; ``operation``, one operation; ``consequence``, the driver's records after the guest counted
    an add. ``evidence``: the collection, from the failure of the run on. A field without an option is scaled
    by the guest's pace.
    """

    boot: Annotated[float, Option(
        "How long the guest may take to boot.", name="boot-timeout", metavar="SECONDS", least=1, most=WEEK
    )] = 90.0  # fmt: skip
    test: Annotated[float, Option(
        "How long the whole plan may take, once the guest is up.",
        name="test-timeout", metavar="SECONDS", least=1, most=WEEK,
    )] = 3600.0  # fmt: skip
    operation: float = 30.0
    consequence: float = 5.0
    quiet: float = 0.1
    evidence: Annotated[float, Option(
        "How long collecting evidence may take, once the run failed.",
        name="evidence-timeout", metavar="SECONDS", least=0, most=WEEK,
    )] = 120.0  # fmt: skip

    def __post_init__(self) -> None:
        for name, seconds in vars(self).items():
            if not 0 <= seconds <= WEEK:
                raise UsageError(f"{name}: expected seconds from 0 to {WEEK}, got {seconds!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunLimits(ChannelLimits):
    """Limits of a guest's output: bytes that are kept and records that are made, for one channel and for the whole run.

    Channels are the debug port, the console, the control port and the kernel debugger's port. The rest is cut
    and counted, and verdicts that depend on it are unknown.
    """

    channel_limit: Annotated[Size, Option(
        "How much of what the guest says on one channel is kept; the rest is cut.", metavar="SIZE", least=MIB
    )] = A_CHANNEL  # fmt: skip
    channel_records: Annotated[int, Option(
        "How many records one channel may put in the history.", metavar="N", least=1000, most=MANY
    )] = 100_000  # fmt: skip
    run_limit: Annotated[Size, Option(
        "How much is kept of all channels together.", metavar="SIZE", least=MIB
    )] = A_RUN  # fmt: skip
    run_records: Annotated[int, Option(
        "How many records all channels together may put in the history.", metavar="N", least=1000, most=MANY
    )] = 250_000  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run. Raises UsageError for names and paths that do not exist, and for invalid combinations.

    ``connect`` is libvirt's URI, "" for its own choice. ``restore`` None starts from the ready snapshot if
    the guest has one. ``qemu``, ``firmware``, ``inject_fault``, ``driver`` and ``driver_map`` are "" for
    none; ``dump`` is 0 for no dump.
    """

    guest: Annotated[str, Option(
        "The guest to boot.", metavar="NAME", what="guest", choices=_guests, recorded=False,
        absent={"demo": DEMO, "repro": SAME, "lab": LAB},
    )] = "twin"  # fmt: skip
    accelerator: Annotated[Literal["auto", "kvm", "tcg"], Option(
        "auto probes KVM and falls back to TCG.", name="accel", metavar="auto|kvm|tcg",
        what="accelerator", choices=lambda: ("auto", "kvm", "tcg"), machine=True,
    )] = "auto"  # fmt: skip
    qemu: Annotated[str, Option(
        "The QEMU binary to use.", metavar="PATH", path=True, machine=True, absent={"lab": LAB}
    )] = ""  # fmt: skip
    backend: Annotated[str, Option(
        "Start QEMU directly, or make libvirt do it.", metavar="qemu|libvirt",
        what="backend", choices=_backends, machine=True, recorded=False, absent={"repro": SAME, "lab": LAB},
    )] = "qemu"  # fmt: skip
    connect: Annotated[str, Option(
        "Where libvirt is, as for virsh -c; by default libvirt's own choice.", metavar="URI",
        machine=True, absent={"repro": SAME, "lab": LAB},
    )] = ""  # fmt: skip
    machine: Annotated[str, Option(
        "QEMU's machine type.", metavar="TYPE", machine=True, recorded=False, absent={"repro": SAME, "lab": LAB}
    )] = "q35"  # fmt: skip
    firmware: Annotated[str, Option(
        "A firmware file instead of QEMU's default.", metavar="PATH", path=True, exist="file",
        machine=True, recorded=False, absent={"repro": SAME},
    )] = ""  # fmt: skip
    monitor: Annotated[bool, Option(
        "Open a second, human monitor; its socket is named.", machine=True,
        absent={"repro": "--step opens it", "accept": ALONE, "lab": ALONE, "pytest": "--pdb opens it"},
    )] = False  # fmt: skip
    vnc: Annotated[bool, Option(
        "With --step or --interactive: show the guest's screen by VNC, on a private socket.", machine=True, recorded=False,
        absent={"run": INTERACTIVE, "demo": INTERACTIVE, "accept": ALONE, "lab": ALONE, "pytest": INTERACTIVE},
    )] = False  # fmt: skip
    restore: Annotated[bool | None, Option(
        "Begin from the guest's ready snapshot, made on first use, or boot it.", machine=True,
        names={"pytest": "boot"}, what="way to boot", words={"restore": True, "cold": False},
        flags={
            "restore": (True, "Begin from the guest's ready snapshot, made on first use, instead of booting it."),
            "cold": (False, "Boot the guest."),
        },
    )] = False  # fmt: skip
    real_time: Annotated[bool, Option(
        "Give the guest the host's time; a Windows guest's clock begins at its template's last shutdown.",
        machine=True, absent={"demo": "the twin has the host's time", "repro": SAME},
    )] = False  # fmt: skip
    kd: Annotated[str, Option(
        "Record what drivers print on the kernel debugger's port (COM3), or hand the port to a debugger.",
        machine=True, what="use of the debugger's port", words={"listen": "listen", "debugger": "debugger"},
        flags={
            "kd": ("listen", "Listen on the guest's kernel debugger port (COM3) and record DbgPrint."),
            "debugger": ("debugger", "Hand that port to a real debugger, on a TCP port of this host that is named."),
        },
    )] = ""  # fmt: skip
    dbgprint: Annotated[bool, Option(
        "Make Windows itself record what drivers print, by an event trace, without a debugger.",
        machine=True, windows=True, absent={"demo": DEMO},
    )] = False  # fmt: skip
    inject_fault: Annotated[str, Option(
        "Make the NT layer misbehave that delivers the callbacks; see --list-faults.",
        metavar="NAME", what="fault", choices=_faults, listed=invocation("demo", "--list-faults"), recorded=False,
        absent={"repro": SAME, "accept": CHECKER, "lab": CHECKER, "pytest": "the marker inject_fault sets it"},
    )] = ""  # fmt: skip
    driver: Annotated[str, Option(
        "The driver's file, or its folder, for guests that execute one; by default one made on the spot.",
        metavar="PATH", path=True, exist="file or folder", absent={"demo": DEMO, "lab": LAB},
        hint="The guests twin and host take a folder of C sources. For wine and Windows, this makes a driver's file: "
        + invocation("driver", "build", "--out", "DIR"),
    )] = ""  # fmt: skip
    driver_map: Annotated[str, Option(
        "Which of the driver's own trace events are which records (TOML), for a driver that is not hpnotify.",
        metavar="FILE", path=True, exist="file", machine=True, absent={"demo": DEMO},
    )] = ""  # fmt: skip
    runs: Annotated[Path, Option(
        "Where run directories are made.", metavar="DIR", path=True, recorded=False,
        absent={"lab": f"this sets it: {invocation('nightly', '--into', 'DIR')}"},
    )] = Path("runs")  # fmt: skip
    private_leases: Annotated[bool, Option(
        "Count this user's machines only, not those of other users.", machine=True, recorded=False,
    )] = False  # fmt: skip
    seed: Annotated[int, Option(
        "Seed of the run's nonces.", metavar="N", recorded=False, least=-(2**63), most=2**63 - 1,
        absent={"repro": SAME, "lab": "each run's seed is derived from the lab's"},
    )] = 0  # fmt: skip
    budget: Timeouts = Timeouts()
    limits: RunLimits = RunLimits()
    dump: Annotated[Size, Option(
        "Keep a dump of a failed guest's memory, if not larger than this.",
        metavar="SIZE", machine=True, recorded=False,
    )] = NOTHING  # fmt: skip
    report: Annotated[str, Option(
        "Write report.html into the run directory: always, or only if the run does not hold.",
        what="use of reports", words={"always": "always", "failed": "failed"}, recorded=False,
        flags={
            "report": ("always", "Write the run as a page too: report.html in the run directory."),
            "report-failed": ("failed", "Write that page only if the run does not hold."),
        },
    )] = ""  # fmt: skip
    retry: Annotated[bool, Option(
        "Try once more if the infrastructure fails; both runs are kept.", recorded=False,
        absent={"repro": "a repetition that fails is a result", "accept": ALWAYS, "lab": ALWAYS, "pytest": ALWAYS},
    )] = False  # fmt: skip

    def __post_init__(self) -> None:
        for one, value in self.values():
            if one.machine and value not in (None, one.default) and is_process(self.guest):
                raise UsageError(
                    f"--{one.name} is for guests that run on QEMU, and the guest {self.guest!r} is a process",
                    hint=f"Leave --{one.name} out, or run the plan on the twin.",
                )
            if one.windows and value != one.default and not self.guest.startswith("windows"):
                raise UsageError(
                    f"--{one.name} is for Windows guests, and the guest is {self.guest!r}",
                    hint=f"Leave --{one.name} out.",
                )
            try:
                one.check(value)
            except UsageError as error:
                raise UsageError(f"--{one.name}: {error.message}", hint=error.hint) from error
        if self.connect and self.backend != "libvirt":
            raise UsageError(
                f"--connect {self.connect} is libvirt's, and the backend is {self.backend!r}",
                hint="Say --backend libvirt too.",
            )
        try:
            password = urlsplit(self.connect).password
        except ValueError as error:
            raise UsageError(f"--connect: not a URI: {error}") from error
        if password is not None:
            raise UsageError(
                "the URI of --connect holds a password, which would be in the history and on command lines",
                hint="ssh is called without a question: give it a key, qemu+ssh://USER@HOST/system?keyfile=PATH.",
            )
        if self.restore and self.real_time:
            raise UsageError(
                "--restore and --real-time cannot be combined: a restored guest continues from the time of its snapshot",
                hint="Leave out one of them, or say --cold.",
            )
        if self.restore and (self.kd or self.backend != "qemu"):
            other = {"listen": "--kd", "debugger": "--debugger"}.get(self.kd, f"--backend {self.backend}")
            raise UsageError(
                f"--restore and {other} cannot be combined", hint="Leave out --restore, or say --cold."
            )

    def values(self) -> list[tuple[Option, Any]]:
        """Return every option with its value."""
        return [(one, operator.attrgetter(one.field)(self)) for one in options_of(RunOptions)]

    def words(self) -> list[str]:
        """Return the arguments of ``harness run`` that set these options, without its defaults."""
        return [
            word
            for one, value in self.values()
            if value not in (None, one.default) and "run" not in one.absent
            for word in one.arguments(value)
        ]

    @property
    def restores(self) -> bool:
        """Whether the guest starts from its ready snapshot; by default, whether it can."""
        if self.restore is not None:
            return self.restore
        return self.backend == "qemu" and not self.kd and not self.real_time and not is_process(self.guest)


def is_process(guest: str) -> bool:
    """Return whether the machine of a guest is a process, which ignores QEMU's options."""
    from harness.guest.guest_types import GUEST_TYPES
    from harness.guest.process.guest import ProcessType

    return isinstance(GUEST_TYPES.get(guest), ProcessType)


DEFAULTS: Mapping[Door, Mapping[str, Any]] = {
    "run": {},
    "demo": {},
    "repro": {"runs": Path("runs")},
    "accept": {"restore": None, "runs": Path("acceptance"), "budget.boot": 900.0},
    "lab": {"retry": True, "report": "failed"},
    "pytest": {"restore": None, "runs": None, "budget.evidence": 60.0},
}
"""Defaults of one door that differ from the field's. The other defaults of ``repro`` are the recorded
values."""


def options_at(door: Door) -> list[Option]:
    """Return the options of a door."""
    return [one for one in options_of(RunOptions) if door not in one.absent]


def shown(one: Option, door: Door) -> str:
    """Return the default of an option in a door as text, "" for none."""
    return one.text(DEFAULTS[door].get(one.field, None if door == "repro" else one.default))


def gathered(values: Mapping[str, Any], over: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return arguments for RunOptions: ``values`` by the options' ``field``, replacing those of ``over``."""
    found = dict(over)
    for path, value in values.items():
        field, _, part = path.partition(".")
        whole = found.get(field, getattr(RunOptions, field))
        found[field] = dataclasses.replace(whole, **{part: value}) if part else value
    return found


def made(door: Door, values: Mapping[str, Any]) -> RunOptions:
    """Return the options of a run: the set ``values``, by field, over the defaults of the door."""
    return RunOptions(**gathered({**DEFAULTS[door], **values}))
