# SPDX-License-Identifier: MIT
"""A driver of a made history: what it registers, allocates and binds, and how it writes of that."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.history.driver import (
    Alloc,
    AsyncEnter,
    AsyncExit,
    Bind,
    CallEnter,
    CallExit,
    DriverRecord,
    Free,
    PnpEnter,
    PnpExit,
    SyncEnter,
    SyncExit,
)
from tests.contract.reference.system import Processor, WindowsSystem
from tests.contract.reference.tape import HistoryTape

ERRORS = (0xC000009A, 0xC0000001, 0xC00000BB, 0x80000005)
"""What a driver or Windows may give as the reason of a failure: any value that is not NT_SUCCESS."""

SAMPLED = ["irql", "active", "active_g0", "active_g0_ex", "maximum", "groups"]

ABSENT = {
    "sync.enter": [
        *SAMPLED,
        "ctx",
        "max_in_group",
        "mask",
        "idx_status",
        "idx_group",
        "idx_number",
        "back_idx",
    ],
    "sync.exit": [*SAMPLED, "state", "nt", "group", "number", "status"],
    "call.enter": [*SAMPLED, "ctx"],
    "call.exit": SAMPLED,
    "hello": SAMPLED,
    "async.enter": [*SAMPLED, "version", "memory"],
    "async.exit": SAMPLED,
}
"""Fields that the events of a mapped driver do not give."""


@dataclass(slots=True)
class ModelRegistration:
    """One registration: synchronous, or for the arrivals of a class."""

    driver: ModelDriver
    number: int
    kind: str
    flags: int
    ctx: int = 0
    device: str = ""
    alive: bool = False
    refused: bool = False
    quiets: int = 0
    objects: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class Habits:
    """What a driver does of what the pages leave to it."""

    channel: str = "debugcon"
    mapped: bool = False
    calls: bool = True
    entry: bool = True
    etw: bool = False
    sample: bool = False
    mode: str = "nonpnp"
    objects: str = "none"
    binds: bool = False
    sync: tuple[int, ...] = (1,)
    cpu: tuple[int, ...] = (1,)
    memory: bool = True
    veto: str = ""
    devices: tuple[str, ...] = ()
    legacy: bool = False
    same_context: bool = False
    absent: dict[str, list[str]] = field(default_factory=dict)


class ModelDriver:
    """Writes what one driver reports. Its numbers go on within a boot, also when it is loaded again."""

    def __init__(self, name: str, habits: Habits, tape: HistoryTape, system: WindowsSystem) -> None:
        self.name = name
        self.habits = habits
        self.tape = tape
        self.system = system
        self.chance: random.Random = tape.chance
        self.seq = 0
        self.made = 0
        self.loaded = False
        self.object = self.chance.randrange(0x1000, 0x9000)
        self.registrations: list[ModelRegistration] = []
        self.bound: set[int] = set()
        self.thread = 1

    # -- records -----------------------------------------------------------------------------------------------

    def say(self, kind: type[DriverRecord], **fields: Any) -> int:
        """Write a record and return its number."""
        self.seq += 1
        given = {**self.system.sample(), "thread": self.thread, **fields}
        if self.habits.mapped:
            absent = self.habits.absent.get(str(kind.__struct_config__.tag), [])
            given |= {
                name: 0 for name in absent if name in given and name not in ("state", "nt", "number", "group")
            }
        self.tape.say(kind, channel=self.habits.channel, seq=self.seq, driver=self.name, **given)
        return self.seq

    def call(self, call: str, *, reg: int = 0, **fields: Any) -> int:
        """Enter a call, if the driver writes of calls."""
        silent = not self.habits.calls or (call == "driver_entry" and not self.habits.entry)
        return 0 if silent else self.say(CallEnter, call=call, reg=reg, **fields)

    def called(self, call: str, enter: int, *, reg: int = 0, result: int = 0, handle: int = 0) -> None:
        """Leave the call that :meth:`call` entered."""
        if enter:
            self.say(CallExit, enter=enter, call=call, reg=reg, result=result, handle=handle)

    def pnp(self, device: str, minor: str, ret: int = 0) -> None:
        """A request or KMDF callback, from entry to return."""
        self.say(
            PnpExit, enter=self.say(PnpEnter, device=device, minor=minor), device=device, minor=minor, ret=ret
        )

    # -- registrations --------------------------------------------------------------------------------------------

    def alive(self, kind: str) -> list[ModelRegistration]:
        """The registrations of a kind that callbacks go to."""
        return [one for one in self.registrations if one.kind == kind and one.alive]

    def new(self, kind: str, flags: int, device: str = "") -> ModelRegistration:
        """Number a registration."""
        self.made += 1
        ctx = 0x4000 + 0x40 * (1 if self.habits.same_context else self.made) if kind == "sync" else 0
        one = ModelRegistration(self, self.made, kind, flags, ctx, device, quiets=self.tape.quiets)
        self.registrations.append(one)
        return one

    # -- objects ---------------------------------------------------------------------------------------------------

    def allocate(self, one: ModelRegistration, nt: int, count: int) -> None:
        """Allocate for a processor on behalf of a registration."""
        for _ in range(count):
            self.object += 8
            one.objects.setdefault(nt, []).append(self.object)
            self.say(Alloc, reg=one.number, nt=nt, object=self.object, size=64)

    def free(self, one: ModelRegistration, nt: int) -> None:
        """Free all that a registration has for a processor."""
        for item in one.objects.pop(nt, []):
            self.say(Free, reg=one.number, nt=nt, object=item)

    def per_start(self) -> int:
        """How many objects a Start allocates."""
        return {"one": 1, "several": self.chance.randint(2, 3)}.get(self.habits.objects, 0)

    # -- callbacks --------------------------------------------------------------------------------------------------

    def enter(
        self,
        one: ModelRegistration,
        state: int,
        processor: Processor,
        *,
        op: int = 0,
        status: int = 0,
        thread: int = 1,
    ) -> tuple[int, int]:
        """Enter the synchronous callback."""
        self.thread = thread
        number = self.say(
            SyncEnter, thread=thread, reg=one.number, state=state, status=status, op=op, ctx=one.ctx,
            **self.system.place(processor),
        )  # fmt: skip
        return number, thread

    def leave(
        self,
        one: ModelRegistration,
        state: int,
        processor: Processor,
        entered: tuple[int, int],
        *,
        op: int,
        status: int = 0,
    ) -> None:
        """Leave it."""
        self.say(
            SyncExit, thread=entered[1], enter=entered[0], reg=one.number, state=state, nt=processor.nt,
            group=processor.group, number=processor.number, status=status, op=op,
        )  # fmt: skip
        self.thread = 1

    def bind(self, processor: Processor) -> None:
        """Begin a thread on a processor, once, if this driver does so."""
        if self.habits.binds and processor.nt not in self.bound:
            self.bound.add(processor.nt)
            self.say(
                Bind, what=self.chance.choice(["thread", "dpc"]), nt=processor.nt, group=processor.group,
                number=processor.number,
            )  # fmt: skip

    def arrival(
        self, one: ModelRegistration, cls: str, link: str, event: str = "arrival", *,
        binds: Processor | None = None, meanwhile: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Call the Plug and Play notification callback; ``meanwhile`` happens before it returns."""
        before, self.thread = self.thread, self.chance.randint(1, 9)
        enter = self.say(
            AsyncEnter, reg=one.number, event=event, cls=cls, version=1, link=link,
            memory=self.system.memory,
        )  # fmt: skip
        if binds is not None:
            self.bind(binds)
        if meanwhile is not None:
            meanwhile()
        self.say(AsyncExit, enter=enter, reg=one.number, ret=0)
        self.thread = before
