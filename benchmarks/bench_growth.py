# SPDX-License-Identifier: MIT
"""Histories in which something grows without limit: the cost of judging against decoding, at half the size and the
whole. Prints JSON.

Each keeps open, adds, loses or registers far more than a run does. The cost per record must not grow with the size.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator

import msgspec

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.history.driver import COMPLETE, START, CallEnter, CallExit, DriverRecord
from harness.history.reader import AnyRecord
from harness.history.record import Channel, Record

AIM = 12.0
LIMIT_RATIO = 40.0
LIMIT_GROWTH = 1.5
"""The limit of a record's cost at the whole size, as a multiple of that at half the size."""

LEGAL = trace("+cpu S2{alloc=1} C2 V mark =cpu Q")
Body = Callable[[int], Iterator[Record]]


def one(tag: str, call: str = "", **changes: int | str) -> Record:
    """Return a record of a kind from a legal history, with changes."""
    for record in LEGAL:
        named = not call or (isinstance(record, CallEnter | CallExit) and record.call == call)
        if record.__struct_config__.tag == tag and named:
            return msgspec.structs.replace(record, **changes)
    raise LookupError(tag)


def open_allocations(count: int) -> Iterator[Record]:
    for number in range(count):
        yield one("alloc", object=1000 + number, nt=number % 64)


def dangling_starts(count: int) -> Iterator[Record]:
    for number in range(count):
        yield one("sync.enter", nt=3 + number, number=3 + number % 5, state=START)
        if number % 4 == 0:
            yield one("quiesced", nonce=f"q{number}")


def unanswered_starts(count: int) -> Iterator[Record]:
    for number in range(count):
        yield one("sync.enter", nt=3 + number, number=3 + number % 5, state=START)
        yield one("sync.exit", enter=-1, nt=3 + number, number=3 + number % 5, state=START)
        yield one("quiesced", nonce=f"q{number}")


def commands(count: int) -> Iterator[Record]:
    for number in range(count):
        yield one("add", attempt=f"x{number}", phase="begin", device=f"x{number}")


def losses(count: int) -> Iterator[Record]:
    """Every fourth attempt has a gap beside it, up to 1024 of them."""
    for number in range(count):
        state = COMPLETE if number % 2 else START
        yield one("sync.enter", nt=2, state=state, active=3)
        yield one("sync.exit", enter=-1, nt=2, state=state, active=3)
        if number % 4 == 0 and number < 4096:
            yield one("mark", seq=-1, active=3)
        if number % 8 == 7:
            yield one("quiesced", nonce=f"q{number}")


def registrations(count: int) -> Iterator[Record]:
    for number in range(count):
        yield one("call.enter", "reg_sync", reg=100 + number, active=3)
        yield one("call.exit", "reg_sync", reg=100 + number, enter=-1, active=3)


def loads(count: int) -> Iterator[Record]:
    for number in range(count):
        yield one("hello", active=3)
        yield one("call.enter", "reg_sync", reg=100 + number, active=3)
        yield one("call.exit", "reg_sync", reg=100 + number, enter=-1, active=3)


def interfaces(count: int) -> Iterator[Record]:
    for number in range(count):
        yield one("async.enter", link=f"l{number}", active=3)
        yield one("async.exit", enter=-1, active=3)


CASES: dict[str, tuple[Body, int]] = {
    "open allocations": (open_allocations, 24_000),
    "dangling Starts": (dangling_starts, 8_000),
    "unanswered Starts": (unanswered_starts, 8_000),
    "commands": (commands, 12_000),
    "losses": (losses, 12_000),
    "registrations": (registrations, 6_000),
    "loads": (loads, 4_000),
    "interfaces": (interfaces, 12_000),
}


def history(body: Iterator[Record]) -> list[Record]:
    """Insert ``body`` before the account of a legal history, and renumber everything.

    A driver record gets the next number; one with the number -1 gets the one after it. An ``enter`` of -1 is the
    number before.
    """
    end = next(place for place, record in enumerate(LEGAL) if isinstance(record, Channel))
    seq = qpc = told = 0
    made: list[Record] = []
    for place, record in enumerate([*LEGAL[:end], *body, *LEGAL[end:]]):
        changes: dict[str, int] = {"n": place + 1, "host_ns": 1000 * place}
        if isinstance(record, DriverRecord):
            told += 1
            if place >= end:
                seq += 2 if record.seq == -1 else 1
                qpc += 10
                changes |= {"seq": seq, "qpc": qpc}
                if getattr(record, "enter", 0) == -1:
                    changes["enter"] = seq - 1
            seq, qpc = max(seq, record.seq), max(qpc, record.qpc)
        elif isinstance(record, Channel):
            changes["records"] = told
        made.append(msgspec.structs.replace(record, **changes))
    return made


def ratio(records: list[Record]) -> float:
    """Return the cost of decoding and judging against decoding alone, in processor time, the best of three."""
    lines = [msgspec.json.encode(record) for record in records]
    decoder = msgspec.json.Decoder(AnyRecord)
    best = []
    for _ in range(3):
        began = time.process_time()
        decoded = [decoder.decode(line) for line in lines]
        middle = time.process_time()
        judge(decoded)
        best.append((time.process_time() - began, middle - began))
    return min(whole for whole, _ in best) / min(decoding for _, decoding in best)


def main() -> int:
    figures, good = {"aim": AIM, "limit_ratio": LIMIT_RATIO, "limit_growth": LIMIT_GROWTH}, True
    table: dict[str, object] = {**figures}
    for name, (body, count) in CASES.items():
        half, whole = ratio(history(body(count // 2))), ratio(history(body(count)))
        table[name] = {"count": count, "ratio_at_half": half, "ratio": whole}
        good &= whole <= LIMIT_RATIO and whole <= LIMIT_GROWTH * half
    sys.stdout.write(json.dumps(table) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
