# SPDX-License-Identifier: MIT
"""The service of a host for the fleet: it reports what it can run, and runs cells, each as ``harness run`` in its own
process.

A cell takes this host's leases and respects its reservations like any other run. All records of a cell are sent to the
exchange, even if it was ended early. What cannot be sent stays in the working directory and is sent later.

::

    WORK/ATTEMPT/order.json  plans/  runs/  output/    and report.json when it has ended
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import msgspec

from harness.deadline import Deadline
from harness.errors import ExitCode, HarnessError, InfrastructureError, UsageError
from harness.fleet.order import (
    FILES,
    NAME,
    AttemptReport,
    CellOrder,
    HostAnswer,
    HostQuestion,
    Order,
    decode,
    encode,
)
from harness.fleet.results_place import ResultsPlace
from harness.forking.fork_server import ForkServer
from harness.guest.guest_types import GUEST_TYPES
from harness.guest.twin import image as twin_image
from harness.history.json_file import read_json
from harness.history.private import open_private, write_private
from harness.host import kvm_probe
from harness.host.budget import HostBudget, ResourceRequest, host_budget
from harness.host.kvm_probe import KVM
from harness.host.lease_directory import lease_directory
from harness.host.qemu_build import find_qemu
from harness.host.reservations import why_reserved
from harness.interrupts import ENDING
from harness.lab.run_process import RunProcess, command
from harness.machine.accelerator import kvm_works
from harness.machine.libvirt.connection import is_remote
from harness.program import readable
from harness.run.options import is_process
from harness.run.say import Say
from harness.setup.cache import cache_directory
from harness.setup.parts import HOST, TESTED
from harness.template.store import Store, store_directory

TICK = 0.5
"""Seconds between two checks whether a cell is still wanted."""
GRACE = 45.0
"""Seconds from SIGTERM to SIGKILL. In that time a run ends its guest and judges its history."""
SETTLE_S = 2.0
"""Seconds that a failure waits for the end of this worker. The end of a batch job reaches runs and worker in any order: Slurm
sends SIGTERM to all processes of a job, one after the other (scancel(1))."""
KVM_S = 15.0
"""Seconds to find out whether a guest runs under KVM, less than a nightly run waits for the answer. A probe takes about one, or
four if its guest hangs; only the first one, without an image, takes longer."""
WORKER_ENDED = "its worker ended first"
CANCELLED = "the nightly run cancelled it"
ORDER, REPORT = "order.json", "report.json"
SENT = ["runs", "output"]

StillWanted = Callable[[], bool]


class WorkerService:
    """The service of one start of ``harness worker``. ``host`` is this host's name for messages. ``say`` reports each
    cell."""

    current: ClassVar[WorkerService | None] = None

    def __init__(self, work: Path, *, host: str, session: str, say: Say = lambda _: None) -> None:
        self.work = work
        self.host = host
        self.session = session
        self._say = say
        self._drained = threading.Event()
        self._server = ForkServer()

    def close(self) -> None:
        """End the process that forks the cells, when no cell runs any more."""
        self._server.close()

    @property
    def drained(self) -> bool:
        """Whether this worker ends, and takes no more orders."""
        return self._drained.is_set()

    def drain(self) -> None:
        """Take no more orders, and end the cells under way."""
        self._drained.set()

    def perform(self, text: str, wanted: StillWanted) -> str:
        """Execute an order, while it is ``wanted``, and return the answer. Raises InfrastructureError for an invalid
        order."""
        order: Order = decode(text, Order, whose="the scheduler")
        if isinstance(order, HostQuestion):
            return encode(self.answer(order))
        return encode(self.run(order, wanted))

    def answer(self, question: HostQuestion) -> HostAnswer:
        """Report which machines this host can run."""
        trouble = ""
        try:
            budget = host_budget(os.environ, self.work)
            ResultsPlace(question.results).check()
        except HarnessError as error:
            trouble = error.message
            budget = HostBudget(vcpus=0, memory=0, disk=0)
        return HostAnswer(
            host=self.host,
            time=time.time(),
            vcpus=budget.vcpus,
            memory=budget.memory,
            cannot={
                machine: trouble or lacking(need.guest, need.options, need.vcpus, need.memory, budget)
                for machine, need in question.machines.items()
            },
            trouble=trouble,
        )

    def run(self, order: CellOrder, wanted: StillWanted) -> AttemptReport:
        """Run a cell and send its records."""
        report = AttemptReport(attempt=order.attempt, cell=order.cell.id, digest=order.digest, host=self.host)
        refused = self._refusal(order)
        if refused:
            return msgspec.structs.replace(report, refused=refused)
        folder = self.work / order.attempt
        try:
            with self._held(folder, order):
                self._say(f"{order.cell.id}: begins")
                report = self._executed(order, folder, report, wanted)
                write_private(folder / REPORT, msgspec.json.encode(report))
                report = self._sent(folder, order, report, _reached(order.results))
        except OSError as error:
            report = msgspec.structs.replace(report, unsent=f"cannot write in {self.work}: {error.strerror}")
        self._say(f"{order.cell.id}: {said(report)}")
        return report

    def send_left(self) -> list[str]:
        """Send the records of earlier cells: those of a killed worker, or those that could not be sent. Return those
        still unsent.

        An exchange that cannot be reached is tried once, for all its cells.
        """
        left = []
        places: dict[str, ResultsPlace | HarnessError] = {}
        for folder in sorted(self.work.glob(f"*/{ORDER}")):
            try:
                with self._held(folder.parent, None):
                    order = decode(
                        (folder.parent / ORDER).read_text("utf-8", "replace"), CellOrder, whose=str(folder)
                    )
                    report = self._report_of(folder.parent, order)
                    place = places.get(order.results) or places.setdefault(
                        order.results, _reached(order.results)
                    )
                    report = self._sent(folder.parent, order, report, place)
                    if report.unsent:
                        left.append(f"{order.cell.id}: {report.unsent}")
            except BlockingIOError:
                # The cell is under way.
                continue
            except (OSError, HarnessError) as error:
                left.append(f"{folder.parent.name}: {getattr(error, 'strerror', None) or error}")
        return left

    def _report_of(self, folder: Path, order: CellOrder) -> AttemptReport:
        return read_json(folder / REPORT, AttemptReport) or AttemptReport(
            attempt=order.attempt, cell=order.cell.id, digest=order.digest, host=self.host,
            ended=WORKER_ENDED, interrupted=True,
        )  # fmt: skip

    def _refusal(self, order: CellOrder) -> str:
        if order.session != self.session:
            return "the order is for an earlier start of this worker"
        if not NAME.fullmatch(order.attempt) or not NAME.fullmatch(order.cell.point):
            return "the order has a name that leads outside its folder"
        if (self.work / order.attempt).exists():
            return "the attempt was already made"
        if self.drained:
            return "the worker is ending"
        private = "--private-leases" in order.options
        reserved = why_reserved(lease_directory(os.environ, private=private))
        return f"this host is {reserved}" if reserved else ""

    def _executed(
        self, order: CellOrder, folder: Path, report: AttemptReport, wanted: StillWanted
    ) -> AttemptReport:
        write_private(folder / "plans" / f"{order.cell.point}.toml", order.plan)
        words = command(order.cell, order.options, folder, order.retry_of)
        try:
            child = RunProcess(
                self._server, order.cell, words, folder, number=order.number, seconds=order.seconds
            )
        except HarnessError as error:
            return msgspec.structs.replace(report, ended=error.message)
        ended = ""
        killed = 0.0
        while not readable(child.descriptor, TICK):
            now = time.monotonic()
            if killed and now > killed:
                child.ask(signal.SIGKILL)
            elif not killed and not wanted():
                ended = WORKER_ENDED if self.drained else CANCELLED
            elif not killed and now > child.ends:
                child.late = True
            if (ended or child.late) and not killed:
                child.ask(signal.SIGTERM)
                killed = now + GRACE
        outcome, again = child.outcome(child.reap(), order.cell.machine)
        failed = again or outcome.code is ExitCode.INFRASTRUCTURE
        if not ended and failed and not child.late:
            if self._drained.wait(SETTLE_S):
                ended = WORKER_ENDED
            elif outcome.exit_code - 128 in ENDING:
                ended = f"another process ended it by {signal.Signals(outcome.exit_code - 128).name}"
        if ended:
            interrupted = ended != CANCELLED
            return msgspec.structs.replace(report, ended=ended, interrupted=interrupted)
        return msgspec.structs.replace(
            report, outcome=msgspec.structs.replace(outcome, host=self.host), again=again
        )

    def _sent(
        self, folder: Path, order: CellOrder, report: AttemptReport, place: ResultsPlace | HarnessError
    ) -> AttemptReport:
        """Send an attempt and remove it here. Return the report, with the reason if it is unsent."""
        try:
            if isinstance(place, HarnessError):
                raise place
            place.send(order.nightly, report, folder, SENT)
        except HarnessError as error:
            return msgspec.structs.replace(report, unsent=error.message)
        shutil.rmtree(folder, ignore_errors=True)
        return report

    @contextlib.contextmanager
    def _held(self, folder: Path, order: CellOrder | None) -> Iterator[None]:
        """Hold an attempt's folder. With ``order``, create it. Raises OSError, BlockingIOError if the folder is in
        use."""
        if order is not None:
            for name in ("plans", *SENT):
                (folder / name).mkdir(mode=0o700, parents=True)
            write_private(folder / ORDER, msgspec.json.encode(order))
        descriptor = open_private(folder / "lock", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)


def _reached(url: str) -> ResultsPlace | HarnessError:
    """Return the exchange at ``url``, or why it cannot be used."""
    try:
        place = ResultsPlace(url)
        place.check()
    except HarnessError as error:
        return error
    return place


def said(report: AttemptReport) -> str:
    """Return the result of an attempt, in a few words."""
    if report.unsent:
        return f"not sent yet: {report.unsent}"
    if report.outcome is None:
        return f"ended: {report.ended}" if report.ended else f"refused: {report.refused}"
    return f"{report.outcome.verdict or report.outcome.failure_class}, {report.outcome.seconds:.0f} s"


def lacking(guest: str, options: list[str], vcpus: int, memory: int, budget: HostBudget) -> str:
    """Return why this host cannot run a guest with these options, "" if nothing is known to be missing."""
    given = dict(itertools.pairwise(options))
    try:
        budget.fitting(ResourceRequest(vcpus=vcpus, memory=memory))
        if guest not in GUEST_TYPES:
            return f"its harness has no guest {guest!r}"
        if guest.startswith("windows") and Store(store_directory(os.environ)).built(guest) is None:
            return f"the template {guest} is not built"
        part = {each.name: each for each in (HOST, *TESTED)}.get(guest)
        if part is not None and (missing := part.missing()):
            return f"{', '.join(need.package for need in missing)} is not installed"
        if not is_process(guest):
            qemu = find_qemu(given.get("--qemu", ""))
            asked = given.get("--accel") == "kvm" and not is_remote(given.get("--connect", ""))
            if asked and (reason := kvm_trouble(qemu.path)):
                return f"KVM cannot be used: {reason}"
    except (UsageError, InfrastructureError) as error:
        return error.message
    absent = [
        given[option]
        for option in FILES
        if option in given and not shutil.which(given[option]) and not Path(given[option]).exists()
    ]
    return f"there is no {absent[0]}" if absent else ""


def kvm_trouble(qemu: Path) -> str:
    """Return why no guest runs under KVM here, "" if one does: a run's own probe, with the twin as its guest."""
    if not os.access(KVM, os.R_OK | os.W_OK):
        return f"{KVM} cannot be opened"
    cache, deadline = cache_directory(os.environ), Deadline(KVM_S, "probe KVM")
    works, reason = kvm_works(qemu, twin_image.build(cache, deadline), cache, deadline)
    return "" if works else reason


def offered(budget: HostBudget, *, harness: str, engine: str, session: str) -> dict[str, float]:
    """Return this host's offer as the worker's resources: numbers, and 1 for each part that is present."""
    found: dict[str, float] = {
        "vcpus": budget.vcpus,
        "memory": budget.memory,
        f"harness={harness}": 1,
        f"engine={engine}": 1,
        f"session={session}": 1,
    }
    probe = kvm_probe.last(cache_directory(os.environ))
    if probe is not None and probe.works and os.access(KVM, os.R_OK | os.W_OK):
        found["kvm"] = 1
    with contextlib.suppress(HarnessError):
        found[f"qemu={find_qemu().version}"] = 1
    store = Store(store_directory(os.environ))
    for name in GUEST_TYPES:
        with contextlib.suppress(HarnessError):
            if name.startswith("windows") and store.built(name) is not None:
                found[f"template={name}"] = 1
    return found
