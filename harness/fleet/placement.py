# SPDX-License-Identifier: MIT
"""CellPlacement: the hosts that a nightly run can use, which cells each can run and has room for, and the next host
for a cell.

A host whose infrastructure fails :data:`STRIKES` cells in a row is set aside. The loss of a worker counts as one failure,
however many cells it had, and whether they or the worker end first: the job of a batch system ends like that. One that reports
that it was told to end does not count: several jobs on one host may be cancelled at once. A host that
refuses an order, because a user has reserved it, or whose cells were interrupted, gets none for a while.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from harness.fleet.engine import Engine, OfferedHost
from harness.fleet.order import FILES, HostAnswer, HostQuestion, MachineNeed
from harness.host.budget import ResourceRequest, size_text
from harness.lab.matrix import Cell, Matrix
from harness.machine.machine import MachineSpec
from harness.run.resource_request import request_of

STRIKES = 3
SILENT_S = 60.0
"""Seconds after which a host that gave no answer is asked again. Each question that hangs occupies one of its threads."""
CLOCKS_S = 5.0
"""The seconds by which a host's clock can differ before a message says so."""

SayHint = Callable[[str, str], None]


class FleetHost:
    """A worker that can be used: its answer to what it can run, and its cells under way. ``lost`` once it is known to be gone.

    ``told`` is whether it reported that it was told to end. ``interrupted`` are the cells that were under way when one of them was interrupted. They count with it, as one failure.
    """

    def __init__(self, offered: OfferedHost, answer: HostAnswer) -> None:
        self.offered = offered
        self.answer = answer
        self.running: dict[str, ResourceRequest] = {}
        self.interrupted: frozenset[str] = frozenset()
        self.lost = self.told = False

    @property
    def name(self) -> str:
        """The host's name."""
        return self.offered.name

    def counted(self, request: ResourceRequest) -> ResourceRequest:
        """Return a request as it counts here. A machine with more processors than the budget runs alone."""
        return msgspec.structs.replace(request, vcpus=min(request.vcpus, self.answer.vcpus))

    def has_room(self, request: ResourceRequest) -> bool:
        """Return whether the host's budget has room for a machine beside those under way."""
        wanted = [*self.running.values(), self.counted(request)]
        return (
            sum(one.vcpus for one in wanted) <= self.answer.vcpus
            and sum(one.memory for one in wanted) <= self.answer.memory
        )


class CellPlacement:
    """The hosts of one nightly run. ``say`` is called, with a hint, for each host that is left out. ``harness`` and
    ``engine`` are this side's versions. ``hold`` is how long, in seconds, a host that refused an order gets none."""

    def __init__(
        self,
        matrix: Matrix,
        *,
        results: str,
        parallel: int,
        harness: str,
        engine: str,
        hold: float,
        say: SayHint,
    ) -> None:
        self.hosts: dict[str, FleetHost] = {}
        self.refused: dict[str, str] = {}
        self.aside: dict[str, str] = {}
        self.drained: set[str] = set()
        self.requests = requests(matrix)
        self._question = HostQuestion(machines=needs(matrix, self.requests), results=results)
        self._parallel = parallel
        self._versions = {"harness": harness, "engine": engine}
        self._hold = hold
        self._say = say
        self._strikes: dict[str, int] = {}
        self._held: dict[str, tuple[float, str]] = {}
        self._silent: dict[str, float] = {}

    def look(self, engine: Engine) -> list[FleetHost]:
        """Update the hosts from the live workers. Return those that were lost. Raises SchedulerLost."""
        offered = {host.address + host.session: host for host in engine.hosts() if host.session}
        gone = [self.hosts.pop(key) for key in [*self.hosts] if key not in offered]
        self.drained = engine.drained()
        self.refused = {key: why for key, why in self.refused.items() if key.partition("|")[2] in offered}
        now = time.monotonic()
        self._silent = {key: until for key, until in self._silent.items() if key in offered and now < until}
        new = {
            key: host
            for key, host in offered.items()
            if key not in self.hosts and key not in self._silent and self._fits(key, host)
        }
        if new:
            self._ask(engine, new)
        return gone

    def cannot(self, machine: str) -> dict[str, str]:
        """Return the reason why each host cannot run a machine, by the host's name, "" for a host that can.

        Of two hosts with one name, one that can counts.
        """
        said = {key.partition("|")[0]: why for key, why in self.refused.items()}
        for host in self.hosts.values():
            if said.get(host.name, "?"):
                said[host.name] = host.answer.cannot.get(machine, "it was not asked")
        return said

    def able(self, machine: str) -> list[FleetHost]:
        """Return the usable hosts that can run a machine, with or without room."""
        return [
            host
            for host in self.hosts.values()
            if not host.answer.cannot.get(machine, "?")
            and host.name not in self.aside
            and host.name not in self.drained
            and not (host.lost or host.told)
        ]

    def choose(self, cell: Cell, without: Collection[str]) -> FleetHost | None:
        """Return the host with the most room for a cell, None if it must wait. A host in ``without`` is used only if
        there is no other."""
        able = self.able(cell.machine)
        others = [host for host in able if host.name not in without] or able
        request = self.requests[cell.point]
        free = [
            host
            for host in others
            if len(host.running) < self._parallel and host.has_room(request) and not self.held(host.name)
        ]
        return min(free, key=lambda host: (len(host.running), host.name), default=None)

    def waits_for(self, cell: Cell) -> str:
        """Return why a cell is not under way."""
        able = self.able(cell.machine)
        if not able:
            return "no host that can run it is connected"
        held = [self.held(host.name) for host in able]
        return next(iter(held)) if all(held) else "its hosts are busy"

    def held(self, host: str) -> str:
        """Return why a host gets no order now, "" if it can get one."""
        until, why = self._held.get(host, (0.0, ""))
        return why if time.monotonic() < until else ""

    def hold(
        self, host: str, why: str, hint: str = "It gets no run until then. Runs under way continue."
    ) -> None:
        """Give a host no order for the time that is set, because it refused one."""
        why = why[:300]
        if self._held.get(host, (0.0, ""))[1] != why:
            self._say(f"host {host}: {why}", hint)
        self._held[host] = (time.monotonic() + self._hold, why)

    def note(self, host: str, why: str) -> None:
        """Note how a cell ended on a host. ``why`` says how its infrastructure failed, "" if it did not."""
        why = why[:300]
        self._held.pop(host, None)
        self._strikes[host] = self._strikes.get(host, 0) + 1 if why else 0
        if self._strikes[host] >= STRIKES and host not in self.aside:
            self.aside[host] = f"the infrastructure failed in {STRIKES} runs in a row; the last: {why}"
            self._say(
                f"host {host} is set aside: {self.aside[host]}"[:600],
                "It gets no more runs of this nightly run. If you repeat the command, the host is used again.",
            )

    def note_interrupted(self, host: FleetHost, attempt: str, why: str) -> None:
        """Note that an attempt was interrupted on a host. All that are under way there count with it, as one failure, and
        so does the loss of the worker that may follow."""
        if attempt not in host.interrupted and not host.told:
            self.note(host.name, why)
            host.interrupted = frozenset(host.running)
        self.hold(
            host.name,
            f"a run was interrupted: {why}",
            f"It gets no run for {self._hold:g} s. What was interrupted is tried again, on another host if one can run it.",
        )

    def note_lost(self, host: FleetHost) -> str:
        """Note that a worker was lost, and return what happened, in words. It counts once if it had runs, and gets no
        more orders."""
        host.lost = True
        count = len(host.running)
        if not count:
            return ""
        said = f"host {host.name}: its worker was lost with {count} run{'s' * (count != 1)} under way"
        self._say(
            said, f"{'They are' if count != 1 else 'It is'} tried again, on another host if one can run it."
        )
        if host.interrupted.isdisjoint(host.running) and not host.told:
            self.note(host.name, "its worker was lost")
        return said

    def _fits(self, key: str, host: OfferedHost) -> bool:
        """Return whether a worker has the versions of this side. Report a difference once."""
        known = f"{host.name}|{key}"
        for what, mine in self._versions.items():
            theirs = host.version_of(what)
            if theirs != mine:
                name = "dask.distributed" if what == "engine" else what
                why = f"its {name} is {theirs or 'unknown'}, and here it is {mine}"
                if known not in self.refused:
                    self._say(
                        f"host {host.name} is left out: {why}", "Install the same version on all hosts."
                    )
                self.refused[known] = why
                return False
        return True

    def _ask(self, engine: Engine, new: dict[str, OfferedHost]) -> None:
        began = time.time()
        answers = engine.ask(list(new.values()), self._question)
        ended = time.time()
        for key, host in new.items():
            answer = answers.get(host.address)
            if answer is None:
                self._say(
                    f"host {host.name} did not answer what it can run",
                    f"It gets no runs, and is asked again in {SILENT_S:g} s. Can it reach [fleet] results?",
                )
                self._silent[key] = time.monotonic() + SILENT_S
                continue
            answer = msgspec.structs.replace(
                answer,
                cannot={machine: why[:300] for machine, why in answer.cannot.items()},
                trouble=answer.trouble[:300],
            )
            self.hosts[key] = FleetHost(host, answer)
            # The start of another worker ends what held the host before, or its answer to the first order does.
            self._held.pop(host.name, None)
            if answer.trouble:
                self._say(f"host {host.name}: {answer.trouble}", "It gets no runs.")
            apart = max(began - answer.time, answer.time - ended)
            if apart > CLOCKS_S:
                self._say(
                    f"host {host.name}: its clock differs from this host's by {apart:.0f} s",
                    "Its runs still count, and are sorted by its own clock. Set its clock, for example with NTP.",
                )


def requests(matrix: Matrix) -> dict[str, ResourceRequest]:
    """Return the maximum resources that a run of each point takes of its host."""
    found = {}
    for point, asked in matrix.requests.items():
        spec = MachineSpec(accelerator="tcg", qemu=Path(), **asked.plan.machine.said)  # type: ignore[arg-type]
        found[point] = request_of(asked.plan, spec)
    return found


def hosted(options: list[str]) -> list[str]:
    """Return the options of a run with absolute paths, because a host's working directory is another one."""
    return [
        str(Path(word).absolute()) if before in FILES and "/" in word else word
        for before, word in itertools.pairwise(["", *options])
    ]


def needs(matrix: Matrix, wanted: dict[str, ResourceRequest]) -> dict[str, MachineNeed]:
    """Return the needs of each machine's cells."""
    found: dict[str, MachineNeed] = {}
    for cell in matrix.cells:
        request, before = wanted[cell.point], found.get(cell.machine)
        found[cell.machine] = MachineNeed(
            guest=cell.guest,
            options=before.options if before else hosted(matrix.requests[cell.point].options.words()),
            vcpus=max(request.vcpus, before.vcpus if before else 0),
            memory=max(request.memory, before.memory if before else 0),
        )
    return found


def table(placement: CellPlacement, machines: Collection[str]) -> list[str]:
    """Return a table of machines that no host can run: a line for each host, with the reason."""
    lines = []
    for machine in machines:
        need = placement._question.machines[machine]  # noqa: SLF001 - of this module
        lines.append(f"{machine}  ({need.vcpus} processors, {size_text(need.memory)})")
        lines += [f"  {host:<20} {why}" for host, why in sorted(placement.cannot(machine).items())]
    return lines
