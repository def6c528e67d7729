# SPDX-License-Identifier: MIT
"""A compact notation for histories, used by the examples of the rules and by the checker's own tests.

A trace is words separated by spaces::

    a:S2 b:S2 b:C2 a:C2 V

``S2 C2 F2``  the synchronous callback for processor 2: Start, Complete, Failure (enter and exit records);
``S2!``       the callback leaves an error in the operation status (a veto); ``<S2`` and ``S2>`` only enter or exit;
``V``         a new processor arrives asynchronously, ``V0`` the one with link 0; ``M`` a new DIMM arrives;
``a:``        before a word: of driver a (the default); ``S2{irql=2,out=0xC0000001,x.number=9,alloc=1}`` sets
              fields of the enter record, the status at exit, fields of the exit record, allocations inside;
``[ … ]``     a registration with ADD_EXISTING, ``( … )`` without; ``]0`` returns NULL; ``{ … }`` one for processor
              arrivals that includes existing interfaces; ``async0 async1`` the same without and with the flag;
``load with b unload unload! dereg unreg unreg_old etw entry entry. entry! pnp``  calls of the driver;
``sample``    the driver's profile is ``sample``;
``work bind mark irp=STOP irp=STOP!``  other driver records; ``lose`` the driver's next record never arrives;
``+cpu =cpu =cpu? +dimm =dimm``  a host command and how it settled (``?``: without agreement);
``moving moved``  the guest begins to migrate, and continues in another QEMU;
``Q``         a quiesced point (``Q0`` without any silence); ``reset`` the guest boots again; ``cut`` the history ends here;
``expect. expect! fault optout edition. edition! cpus=4``  the rest; ``groupsize=2`` boots with processor groups of that size.

The rest is filled in: a header, a boot, the named drivers loaded with two processors, a baseline,
one host command per named processor, agreement, a quiesced point, the channel's account and the end. A trace with a
registration of its own gets no loaded driver and no baseline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.history import driver as d
from harness.history import record as r

VETO = 0xC000009A
"""STATUS_INSUFFICIENT_RESOURCES, the error that ``!`` stands for."""

SILENCE_NS = 200_000_000
"""The silence that a quiesced record reports."""

_STATES = {"S": d.START, "C": d.COMPLETE, "F": d.FAILURE}
_WORD = re.compile(r"(?:(?P<driver>[a-z]):)?(?P<word>[^{]+)(?:\{(?P<fields>[^}]*)\}(?P<tail>!?))?$")
_CALLBACK = re.compile(r"(?P<enter><?)(?P<state>[SCF])(?P<number>\d+)(?P<veto>!?)(?P<leave>>?)$")
_ARRIVAL = re.compile(r"(?P<cls>[VM])(?P<link>\d*)$")
_OWN = frozenset({"[", "(", "{", "load", "entry", "pnp", "etw", "async0", "async1"})


@dataclass(slots=True)
class _Driver:
    seq: int = 0
    regs: int = 0
    loaded: bool = False
    sync: int = 0
    cpu: int = 0
    memory: int = 0
    ctx: int = 0x1000
    open: dict[str, int] = field(default_factory=dict)
    etw: bool = False
    arrivals: int = 0


class _Builder:
    """Writes one trace as records and keeps the active count that a correct system would have."""

    def __init__(self, active: int, group_size: int = 0) -> None:
        self.group_size = group_size or 64
        self.maximum = 8
        self.records: list[r.Record] = []
        self.active = self.base = self.counted = active
        self.qpc = 1000
        self.boot = "00000000000000b1"
        self.drivers: dict[str, _Driver] = {}
        self.pending: set[int] = set()
        self.dimms = 0
        self.adds: list[str] = []
        self.added = 0
        self.lost = 0
        self.objects = 0x100

    # -- records -----------------------------------------------------------------------------------------------

    def put(self, record: r.Record) -> None:
        number = len(self.records) + 1
        self.records.append(msgspec.structs.replace(record, n=number, host_ns=1_000_000 * number))

    def driver(self, name: str) -> _Driver:
        if name not in self.drivers:
            self.drivers[name] = _Driver()
            self.say(name, d.Hello, version="1.0", hz=10_000_000, ring=1024)
        return self.drivers[name]

    def say(
        self, name: str, kind: type[d.DriverRecord], given: dict[str, Any] | None = None, **fields: Any
    ) -> int:
        driver = self.drivers[name]
        driver.seq += 1
        self.qpc += 10
        in_group_0 = min(self.active, self.group_size)
        wanted = {key: value for key, value in (given or {}).items() if key in kind.__struct_fields__}
        self.qpc = max(self.qpc, int(wanted.get("qpc", 0)))
        self.active = max(self.active, int(wanted.get("active", 0)))
        common: dict[str, Any] = {
            "channel": "debugcon", "seq": driver.seq, "qpc": self.qpc, "boot": self.boot, "driver": name, "cpu": 0,
            "irql": 0, "thread": 7, "active": self.active, "active_g0": in_group_0, "active_g0_ex": in_group_0,
            "maximum": self.maximum, "groups": -(-self.active // self.group_size),
        }  # fmt: skip
        self.put(kind(**(common | fields | wanted)))
        return driver.seq

    def call(self, name: str, call: str, *, reg: int = 0, **fields: Any) -> None:
        self.driver(name)
        given = fields.pop("given", None)
        enter = self.say(name, d.CallEnter, given, call=call, reg=reg, **fields)
        self.say(name, d.CallExit, enter=enter, call=call, reg=reg, result=0)

    # -- what a driver does --------------------------------------------------------------------------------------

    def sync(self, name: str, match: re.Match[str], given: dict[str, Any], extra_veto: bool) -> None:
        driver = self.driver(name)
        number, state = int(match["number"]), _STATES[match["state"]]
        veto = bool(match["veto"]) or extra_veto
        reg = int(given.get("reg", driver.sync))
        key = f"{match['state']}{number}"
        entered, left = not match["leave"] or bool(match["enter"]), not match["enter"] or bool(match["leave"])
        if entered:
            if state == d.START and not veto:
                self.pending.add(number)
            elif state == d.COMPLETE:
                self.active = max(self.active, number + 1)
            if state != d.START:
                self.pending.discard(number)
            counted = number < self.active
            group, place = divmod(number, self.group_size)
            here = max(0, min(self.active - group * self.group_size, self.group_size))
            driver.open[key] = self.say(
                name, d.SyncEnter, given, reg=reg, state=state, nt=number, group=group, number=place,
                status=VETO if state == d.FAILURE else 0, op=0, ctx=driver.ctx,
                max_in_group=min(self.group_size, self.maximum), mask=(1 << here) - 1,
                idx_status=0 if counted else 0xC000000D, idx_group=group if counted else 0,
                idx_number=place if counted else 0, back_idx=number if counted else -1,
            )  # fmt: skip
            for _ in range(int(given.get("alloc", 0))):
                self.objects += 1
                self.say(name, d.Alloc, reg=reg, nt=number, object=self.objects, size=64)
                driver.open[f"object {reg} {number}"] = self.objects
            for _ in range(int(given.get("free", 0))):
                self.say(
                    name, d.Free, reg=reg, nt=number, object=driver.open.get(f"object {reg} {number}", 0)
                )
        if left:
            shown = {key: value for key, value in given.items() if key in d.SyncExit.__struct_fields__}
            fields = {
                "state": state,
                "nt": number,
                "group": number // self.group_size,
                "number": number % self.group_size,
                "status": VETO if state == d.FAILURE else 0,
            }
            fields |= {key: value for key, value in shown.items() if key in fields}
            op = int(given.get("out", VETO if veto else given.get("op", 0)))
            leaving = {key[2:]: value for key, value in given.items() if key.startswith("x.")}
            self.say(name, d.SyncExit, leaving, enter=driver.open.pop(key, 0), reg=reg, op=op, **fields)

    def arrive(self, name: str, cls: str, link: str, given: dict[str, Any]) -> None:
        driver = self.driver(name)
        if cls == "M":
            self.dimms += not link
            where, reg, kind = f"dimm{link or self.dimms}", driver.memory, "memory"
        else:
            number = int(link) if link else self.base + driver.arrivals
            driver.arrivals += not link
            if number >= self.active and self.pending:
                self.active = max(self.active, min(self.pending) + 1)
            where, reg, kind = f"cpu{number}", driver.cpu, "cpu"
        enter = self.say(
            name,
            d.AsyncEnter,
            given,
            reg=int(given.get("reg", reg)),
            event="arrival",
            cls=kind,
            version=1,
            link=where,
        )
        leaving = {key[2:]: value for key, value in given.items() if key.startswith("x.")} | {
            key: value for key, value in given.items() if key == "ret"
        }
        self.say(name, d.AsyncExit, leaving, enter=enter, reg=reg, ret=0)

    def register(self, name: str, call: str, *, flags: int, cls: str = "") -> int:
        driver = self.driver(name)
        driver.regs += 1
        if call == "reg_sync":
            driver.sync = driver.regs
            driver.ctx = 0x1000 * driver.regs
        elif cls == "cpu":
            driver.cpu = driver.regs
        else:
            driver.memory = driver.regs
        enter = self.say(name, d.CallEnter, call=call, reg=driver.regs, flags=flags, cls=cls,
                         ctx=driver.ctx if call == "reg_sync" else 0)  # fmt: skip
        driver.open[call] = enter
        return driver.regs

    def registered(self, name: str, call: str, reg: int, *, handle: int = 1) -> None:
        driver = self.drivers[name]
        self.say(
            name, d.CallExit, enter=driver.open.pop(call, 0), call=call, reg=reg, result=0, handle=handle
        )

    def load(self, name: str) -> None:
        if self.driver(name).loaded:
            self.say(name, d.Hello, version="1.0", hz=10_000_000, ring=1024)
        self.driver(name).loaded = True
        self.driver(name).arrivals = self.active - self.base
        entry = self.say(name, d.CallEnter, call="driver_entry")
        reg = self.register(name, "reg_sync", flags=1)
        for state in "SC":
            for number in range(self.active):
                match = _CALLBACK.match(f"{state}{number}")
                if match is not None:
                    self.sync(name, match, {}, extra_veto=False)
        self.pending.clear()
        self.registered(name, "reg_sync", reg)
        reg = self.register(name, "reg_async", flags=1, cls="cpu")
        for number in range(self.active):
            self.arrive(name, "V", str(number), {})
        self.registered(name, "reg_async", reg)
        self.registered(name, "reg_async", self.register(name, "reg_async", flags=1, cls="memory"))
        self.say(name, d.CallExit, enter=entry, call="driver_entry", result=0)

    def unload(self, name: str, *, clean: bool) -> None:
        driver = self.driver(name)
        if clean:
            for reg in (driver.cpu, driver.memory):
                if reg:
                    self.call(name, "unreg_ex", reg=reg)
        enter = self.say(name, d.CallEnter, call="unload")
        if clean and driver.sync:
            self.call(name, "dereg_sync", reg=driver.sync)
        if driver.etw:
            self.call(name, "etw_unreg")
        self.say(name, d.CallExit, enter=enter, call="unload", result=0)

    # -- what the host does --------------------------------------------------------------------------------------

    def baseline(self) -> None:
        self.put(r.Count(processors=self.active, memory=512 << 20, why="baseline"))
        self.quiesce()

    def quiesce(self, quiet_ns: int = SILENCE_NS) -> None:
        self.put(r.Quiesced(nonce=f"q{len(self.records)}", quiet_ns=quiet_ns))

    def add(self, what: str) -> None:
        self.added += 1
        attempt = f"{what}-{self.added}"
        self.adds.append(attempt)
        for phase in ("begin", "accepted"):
            self.put(r.Add(attempt=attempt, phase=phase, what=what, device=attempt, bytes=0))  # type: ignore[arg-type]

    def settle(self, what: str, *, agreed: bool = True) -> None:
        attempt = next((name for name in self.adds if name.startswith(what)), "")
        if not attempt:
            return
        self.adds.remove(attempt)
        grown = self.active > self.counted or what == "dimm" or not agreed
        self.counted, before = self.active, self.counted
        self.put(
            r.Agreement(attempt=attempt, expected="added" if grown else "vetoed", agreed=agreed, qemu_lists=True, ost=[(1, 0)],
                      counted_before=before, counted_after=self.active + (what == "dimm"),
                      detail="" if agreed else "the guest does not count it")
        )  # fmt: skip
        self.put(r.Add(attempt=attempt, phase="settled", what=what, device=attempt))  # type: ignore[arg-type]

    def end(self) -> None:
        for attempt in list(self.adds):
            self.settle(attempt.split("-")[0])
        self.quiesce()
        said = sum(isinstance(record, d.DriverRecord) for record in self.records)
        if said:
            self.put(r.Channel(name="debugcon", records=said, lost=self.lost, closed=True))
        self.put(r.End(outcome="completed"))


def _fields(text: str | None) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for item in (text or "").split(","):
        if item:
            key, _, value = item.partition("=")
            try:
                given[key] = int(value, 0)
            except ValueError:
                given[key] = value
    return given


def _words(text: str) -> list[str]:
    words: list[str] = []
    for word in text.split():
        opening = re.match(r"[\[(]", word)
        if opening and len(word) > 1:
            words.append(word[0])
            word = word[1:]
        closing = re.search(r"[\])]0?$", word)
        if closing and len(word) > len(closing[0]):
            words += [word[: closing.start()], closing[0]]
        else:
            words.append(word)
    return words


def trace(text: str, *, run: str = "example", guest: str = "twin") -> list[r.Record]:
    """Return the records of the history that ``text`` stands for. Raises ValueError that names an unknown word."""
    words = _words(text)
    own = any(word in _OWN for word in words)
    callbacks = [
        (match, word) for word in words if (match := _CALLBACK.match(re.sub(r"^\w:|\{.*", "", word)))
    ]
    given = next((int(word[5:]) for word in words if word.startswith("cpus=")), 0)
    inside = set(re.findall(r"S(\d+)", text.partition("[")[2].partition("]")[0]))
    size = next((int(word[10:]) for word in words if word.startswith("groupsize=")), 0)
    builder = _Builder(given or len(inside) or 2, size)
    builder.put(r.Header(format=r.FORMAT, harness="0", run=run, guest=guest, wall="2026-01-01T00:00:00Z"))
    builder.put(r.Boot(epoch=1, cause="power-on"))
    builder.put(r.OperationProgress(index=1, name="load-driver", phase="begin"))
    if size:
        builder.put(r.GuestEvent(event=r.BOOT_OPTION, detail=f"groupsize={size}"))
    later = {words[place + 1] for place, word in enumerate(words[:-1]) if word == "with"}
    named = {match["driver"] for word in words if (match := _WORD.match(word)) and match["driver"]} - later
    place = 0
    while place < len(words) and (words[place] == "with" or words[place].startswith(("cpus=", "groupsize="))):
        if words[place] == "with":
            builder.load(words[place + 1])
            place += 1
        place += 1
    if not own:
        for name in sorted((named or {"a"}) - set(builder.drivers)):
            builder.load(name)
        builder.put(r.OperationProgress(index=1, name="load-driver", phase="end"))
        builder.baseline()
        if not any(word.startswith("+") for word in words):
            for _ in {match["number"] for match, _ in callbacks} or ({0} & {0 if "V" in words else 1}):
                builder.add("cpu")
    else:
        builder.put(r.OperationProgress(index=1, name="load-driver", phase="end"))
    whole = True
    while place < len(words):
        word = words[place]
        place += 1
        if word == "with":
            builder.load(words[place])
            place += 1
        elif word == "cut":
            whole = False
        elif not _say(builder, word):
            raise ValueError(f"the trace {text!r} has a word that means nothing: {word!r}")
    if whole:
        builder.end()
    return builder.records


def _say(builder: _Builder, word: str) -> bool:
    """Write what one word stands for. Return whether the word is known."""
    match = _WORD.match(word)
    if word in ("{", "}") or match is None:
        return word in ("{", "}") and _bracket(builder, word)
    name, plain, given = match["driver"] or "a", match["word"], _fields(match["fields"])
    callback, arrival = _CALLBACK.match(plain), _ARRIVAL.match(plain)
    if callback is not None:
        builder.sync(name, callback, given, extra_veto=bool(match["tail"]))
    elif arrival is not None:
        builder.arrive(name, arrival["cls"], arrival["link"], given)
    elif plain[0] in "[(])":
        return _bracket(builder, plain)
    else:
        return _call(builder, name, plain, given) or _host(builder, plain)
    return True


def _bracket(builder: _Builder, word: str) -> bool:
    if word in ("[", "("):
        builder.register("a", "reg_sync", flags=int(word == "["))
    elif word == "{":
        builder.register("a", "reg_async", flags=1, cls="cpu")
    elif word == "}":
        builder.registered("a", "reg_async", builder.drivers["a"].cpu)
    else:
        builder.pending.clear()
        builder.registered("a", "reg_sync", builder.drivers["a"].sync, handle=int(not word.endswith("0")))
    return True


def _call(builder: _Builder, name: str, word: str, given: dict[str, Any]) -> bool:
    driver = builder.drivers.get(name) or _Driver()
    if word == "load":
        builder.load(name)
    elif word in ("unload", "unload!"):
        builder.unload(name, clean=word == "unload")
    elif word == "dereg":
        builder.call(name, "dereg_sync", reg=driver.sync, given=given)
    elif word in ("unreg", "unreg_old"):
        builder.call(name, "unreg_ex" if word == "unreg" else word, reg=driver.cpu, given=given)
    elif word == "etw":
        builder.call(name, "etw_reg")
        builder.drivers[name].etw = True
    elif word == "entry":
        builder.driver(name)
        builder.drivers[name].open["entry"] = builder.say(name, d.CallEnter, call="driver_entry")
    elif word in ("entry!", "entry."):
        result = VETO if word == "entry!" else 0
        builder.say(name, d.CallExit, enter=driver.open.pop("entry", 0), call="driver_entry", result=result)
    elif word in ("async0", "async1"):
        reg = builder.register(name, "reg_async", flags=int(word[-1]), cls="cpu")
        builder.registered(name, "reg_async", reg)
    elif word == "pnp":
        builder.drivers[name] = _Driver()
        builder.say(name, d.Hello, version="1.0", hz=10_000_000, ring=1024, mode="pnp")
    elif word == "sample":
        builder.put(r.Profile(driver=name, promises="sample"))
    elif word == "work":
        builder.say(name, d.Work, given, nt=0, done=1)
    elif word == "bind":
        builder.say(name, d.Bind, given, what="thread", nt=0, group=0, number=int(given.get("nt", 0)))
    elif word == "mark":
        builder.say(name, d.Mark, given, nonce="m1")
    elif word.startswith("irp="):
        minor = word[4:].rstrip("!")
        builder.driver(name)
        enter = builder.say(name, d.PnpEnter, device="pci0", minor=minor)
        builder.say(
            name, d.PnpExit, enter=enter, device="pci0", minor=minor, ret=VETO if word.endswith("!") else 0
        )
    elif word == "lose":
        builder.driver(name).seq += 1
        builder.lost += 1
    else:
        return False
    return True


def _host(builder: _Builder, word: str) -> bool:
    if word in ("+cpu", "+dimm"):
        builder.add(word[1:])
    elif word in ("=cpu", "=dimm", "=cpu?"):
        builder.settle(word[1:].rstrip("?"), agreed=not word.endswith("?"))
    elif word in ("Q", "Q0"):
        builder.quiesce(0 if word == "Q0" else SILENCE_NS)
    elif word == "reset":
        builder.put(r.Boot(epoch=2, cause="guest-reset"))
        builder.adds.clear()
        builder.drivers.clear()
        builder.boot = "00000000000000b2"
    elif word in ("moving", "moved"):
        builder.put(r.Migration(phase="begin" if word == "moving" else "moved", source=1, target=2))
    elif word in ("expect.", "expect!"):
        met = word == "expect."
        builder.put(
            r.Expectation(
                index=2, demanded="processors=3", seen="processors=3" if met else "processors=2", met=met
            )
        )
    elif word == "fault":
        builder.put(
            r.RunFailure(failure_class="guest hang", stage="operation", message="nothing came from the guest")
        )
    elif word in ("edition.", "edition!"):
        takes = r.TAKES_PROCESSORS if word == "edition." else r.REFUSES_PROCESSORS
        builder.put(r.GuestEvent(event=r.EDITION, detail=f"{takes}: Windows Server"))
    elif word == "optout":
        builder.put(r.GuestEvent(event="rebalance-opt-out", detail="DEVPKEY_Device_DHP_Rebalance_Policy=1"))
    else:
        return False
    return True
