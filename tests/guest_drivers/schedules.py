# SPDX-License-Identifier: MIT
"""The driver under every order of its threads that a script allows, and the long form of that.

``python tests/guest_drivers/schedules.py [BOUND [RANDOM]]`` runs all pairs of actors with up to BOUND turns out of the
usual order (default 3), then RANDOM longer random schedules (default 100,000), and says how many there were.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from guest_drivers.host_process import Transcript, build, mark, read, request

from harness.contract.checker import judge
from harness.contract.verdict import Verdict
from harness.history.driver import DriverRecord
from harness.history.record import FORMAT, Boot, Channel, Clock, End, Header, Record

ACTORS = {
    "add": ("add {first}",),
    "veto": (request("VETO", 0xC0000001, 1), "add {first}"),
    "fail": ("fail {first}",),
    "unload": (request("DETACH"), "stop hpnotify"),
    "ioctl": (request("WORK", 3), request("STATISTICS", output=900), request("READ_RING", output=2048)),
    "register": (request("DEREGISTER", 0, 0), request("REGISTER", 1, 1)),
}
"""Who takes part in the schedules of two. Each adds a processor of its own."""

PAIRS = list(combinations_with_replacement(ACTORS, 2))

STEPS = (
    "add {number}", "fail {number}", "memory {address:#x} 0x10000000", mark("nonce"), request("FLUSH"),
    request("VETO", 0xC0000001, 2), request("VETO", 0, 1), request("WORK", 5), request("DETACH"),
    request("STATISTICS", output=200), request("READ_RING", output=512), request("DEREGISTER", 0, 0),
    request("REGISTER", 0, 1), request("REGISTER", 0, 0), request("DEREGISTER", 1, 0), request("REGISTER", 1, 1),
    request("REGISTER", 2, 1), request("DEREGISTER", 2, 0), request("REGISTER", 3, 1), request("DELAY", 1),
    "stop hpnotify", "start hpnotify AddExisting=0", "start other", "stop other",
)  # fmt: skip

END = (request("DETACH"), "stop hpnotify", "stop other")
COUNTS = re.compile(r"schedules (\d+) distinct (\d+) longest (\d+)")


class Explored(msgspec.Struct, frozen=True):
    """What a script's schedules came to: how many, how many different transcripts, and the first of those."""

    schedules: int
    distinct: int
    transcripts: list[Transcript]


class WrongScheduleError(AssertionError):
    """A schedule broke an invariant; the message holds what it said, and the choices that bring it back."""


def script(*commands: str, processors: str = "2 6 64") -> str:
    """Return a whole script."""
    return "\n".join([f"processors {processors}", *commands, ""])


def pair(one: str, other: str, *before: str) -> str:
    """Return the script in which two actors act at the same time."""
    lanes = [f"1 {step.format(first=2)}" for step in ACTORS[one]]
    lanes += [f"2 {step.format(first=3)}" for step in ACTORS[other]]
    return script(*before, "start hpnotify AddExisting=0 RingRecords=16", "parallel", *lanes, "join", *END)


def drawn(seed: int) -> str:
    """Return a longer script of three actors with up to eight steps each."""
    source = random.Random(seed)
    flags = f"AddExisting={source.randrange(2)} SecondRegistration={source.randrange(2)} RingRecords=16"
    # No machine adds the same processor twice.
    numbers = iter(range(2, 32))
    lanes = [
        f"{lane} {source.choice(STEPS).format(number=next(numbers), address=source.randrange(1, 9) << 32)}"
        for lane in (1, 2, 3)
        for _ in range(source.randrange(1, 9))
    ]
    return script(
        f"start hpnotify {flags}",
        "parallel",
        *lanes,
        "join",
        *END,
        processors=f"2 32 {source.choice((2, 64))}",
    )


def explore(program: Path, text: str, *arguments: str, timeout: float = 600) -> Explored:
    """Run a script's schedules. Raises WrongScheduleError for the first that breaks an invariant or a sanitizer's rule."""
    done = subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip
    found = COUNTS.fullmatch(done.stdout.rpartition("\n")[0].rpartition("\n")[2])
    if done.returncode != 0 or found is None:
        raise WrongScheduleError(f"{text}\n{done.stdout[-6000:]}{done.stderr[-6000:]}")
    *parts, _ = re.split(r"^transcript \d+\n", done.stdout, flags=re.MULTILINE)
    return Explored(int(found[1]), int(found[2]), [read(part) for part in parts])


def violations(transcript: Transcript) -> list[str]:
    """Judge a transcript by the contract; return each error found in it, with its rule."""
    brought = Counter(record.channel for record in transcript.records if isinstance(record, DriverRecord))
    records: list[Record] = [
        Header(format=FORMAT, harness="tests", run="schedule", guest="host", wall=""),
        Clock(domain="host", hz=1_000_000_000),
        Boot(epoch=1, cause="power-on"),
        *transcript.records,
        *(Channel(name=name, records=count, closed=True) for name, count in brought.items()),
        End(outcome="completed"),
    ]
    numbered = [msgspec.structs.replace(record, n=n) for n, record in enumerate(records, start=1)]
    return [
        said
        for finding in judge(numbered).findings
        if finding.verdict is Verdict.VIOLATED and finding.level.startswith("error")
        for said in (f"{finding.rule}: {finding.reason}", *finding.consequences)
    ]


def long_form(bound: int, count: int) -> Iterator[str]:
    """Run everything, on two processors; yield a line for each part that was done."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as workers:
        program = build(Path(folder), "address,undefined", "hpnotify-schedules")
        orders = sorted({(a, b) for one, other in PAIRS for a, b in ((one, other), (other, one))})
        results = workers.map(
            lambda names: explore(program, pair(*names), "all", str(bound), timeout=36000), orders
        )
        total = 0
        for names, result in zip(orders, results, strict=True):
            total += result.schedules
            yield f"{' and '.join(names)}: {result.schedules} schedules, {result.distinct} transcripts"
        yield f"all pairs: {total} schedules with at most {bound} turns out of the usual order, none wrong"
        seeds = range(max(1, count // 100))
        results = workers.map(lambda seed: explore(program, drawn(seed), "random", str(seed), "100"), seeds)
        yield f"random: {sum(result.schedules for result in results)} schedules of {len(seeds)} scripts, none wrong"


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    begun = time.monotonic()
    for said in long_form(*(given + [3, 100_000][len(given) :])):
        print(said, flush=True)
    print(f"{time.monotonic() - begun:.0f} seconds")
