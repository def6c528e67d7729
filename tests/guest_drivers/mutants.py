# SPDX-License-Identifier: MIT
"""Mutations of the driver's source, one at a time: a test must catch each, or it is known to change nothing.

``python tests/guest_drivers/mutants.py [COUNT [SEED]] [--since REVISION] [--shard K/N] [--log FILE]`` makes COUNT of
them, drawn by SEED (default: all), or the Kth of N equal parts of those, and prints the table. With REVISION, only those
are made whose line the file did not have there. A mutant in FILE is not tried again, so that a run that was stopped can
go on. Exit status 1 if one survives that is not listed in EQUIVALENT.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from guest_drivers.lock_discipline import unguarded

DRIVER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify"
HERE = Path(__file__).parent
TESTS = (str(HERE / "test_host_process.py"), str(HERE / "test_plug_and_play.py"))
PROGRAMS = {"address,undefined": ("hpnotify-host", "hpnotify-schedules"), "thread": ("hpnotify-host",)}
"""The programs that are built with each sanitizer."""
THREADS = "everything_at_once or overruns"
SCHEDULES = "unload or neither"
HANGS = 60
"""Seconds after which tests that have not ended have caught a mistake; ``--patience`` for a busy machine."""

SWAPS = {
    "compare": [(" == ", " != "), (" != ", " == "), (" < ", " <= "), (" >= ", " > "), (" > ", " >= "), (" <= ", " < ")],
    "connect": [(" && ", " || "), (" || ", " && ")],
    "off by one": [(" + 1", " + 2"), (" - 1", " - 2"), (" += 1", " += 2"), (" -= 1", " -= 2")],
    "constant": [
        ("TRUE", "FALSE"), ("FALSE", "TRUE"), ("STATUS_INVALID_PARAMETER", "STATUS_SUCCESS"),
        ("STATUS_INVALID_BUFFER_SIZE", "STATUS_SUCCESS"), ("STATUS_INVALID_DEVICE_STATE", "STATUS_SUCCESS"),
        ("STATUS_DEVICE_NOT_READY", "STATUS_SUCCESS"), ("return STATUS_SUCCESS", "return STATUS_UNSUCCESSFUL"),
    ],
}  # fmt: skip
CONDITION = re.compile(r"^(\s+(?:\} else )?if )(\(.+\))( \{)$")
STATEMENT = re.compile(r"^    +(?!return|break|continue|goto|case|default|else)[A-Za-z*(][^{}]*;$")
DECLARATION = re.compile(
    r"^    (?:const |static |volatile )*[A-Za-z_0-9]+ \**[A-Za-z_]+(?:\[[^]]*\])?(?: = [^;]*)?;$"
)
ACQUIRE = re.compile(r"^(\s+)KeAcquireSpinLock\((.+), &irql\);$")


class Mutant(msgspec.Struct, frozen=True):
    """One mutation: the new text of which lines (1-based) of a file."""

    file: str
    line: int
    operator: str
    before: str
    changes: dict[int, str]

    @property
    def name(self) -> str:
        """The mutant's name: where, what, and the original text."""
        return f"{self.file}:{self.line} {self.operator}: {self.before}"

    @property
    def place(self) -> tuple[str, str, str]:
        """The mutant without its line number, which changes when lines are added above."""
        return self.file, self.operator, self.before


ZEROED = "the context of an object is zeroed by the framework"
UNREAD = "nobody reads it"
LAYER = "this layer never shows the difference; Windows may"
SAME = "at that value both ways lead to the same"
LARGER = "a larger buffer"
PARENT = "the driver object's end does it, too"
OTHERWISE = "the rest tells nonces apart"
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("veto.c", "drop", "Veto->Status = STATUS_SUCCESS;"): ZEROED,
    ("veto.c", "drop", "Veto->Remaining = 0;"): ZEROED,
    ("veto.c", "drop", "KeInitializeSpinLock(&Veto->Lock);"): ZEROED,
    ("memory.c", "drop", "Buffer->Memory = NULL;"): ZEROED,
    ("memory.c", "drop", "Buffer->Bytes = 0;"): ZEROED,
    ("memory.c", "drop", "KeInitializeSpinLock(&Buffer->Lock);"): ZEROED,
    ("async.c", "drop", "Copy->MaximumLength = Copy->Length + sizeof(WCHAR);"): UNREAD,
    ("sync.c", "compare >= to >", "if (Change->NtNumber >= Sync->ProcessorCount) {"): LAYER + " (no number is that large)",
    ("sync.c", "drop", "Sync->Processors = NULL;"): "its count is 0, so nobody reads it",
    ("log.c", "drop", "KeInitializeSpinLock(&Log->Lock);"): ZEROED,
    ("log.c", "drop", "Log->BootKey = NULL;"): UNREAD,
    ("line.c", "compare < to <=", "if (Line->Length < Line->Capacity) {"):
        LAYER + " (no record reaches the end of its line)",
    ("worker.c", "drop", "Worker->Number.Reserved = 0;"): LAYER + " (Reserved is always 0)",
    ("sync.c", "drop", "asked.Reserved = 0;"): LAYER + " (Reserved is always 0)",
    ("memory.c", "drop", "loser = memory;"): LAYER + " (arrivals come one at a time)",
    ("worker.c", "constant FALSE to TRUE",
     "KeWaitForSingleObject(&worker->Wake, Executive, KernelMode, FALSE, NULL);"): LAYER + " (no alerts)",
    ("worker.c", "drop", "Worker->Thread = NULL;"): UNREAD,
    ("worker.c", "connect || to &&",
     "return here.Group != Worker->Number.Group || here.Number != Worker->Number.Number;"): LAYER + " (nobody is misplaced)",
    ("worker.c", "constant FALSE to TRUE",
     "KeInitializeEvent(&Worker->Wake, SynchronizationEvent, FALSE);"): "a thread that is woken without work waits again",
    ("async.c", "compare > to >=", "if (length > HPN_LINK_CHARACTERS) {"): SAME,
    ("async.c", "off by one + 1 to + 2", "WCHAR linkText[HPN_LINK_CHARACTERS + 1];"): LARGER,
    ("async.c", "drop", "Async->Entry = NULL;"): LAYER + " (a call that fails writes nothing)",
    ("async.c", "drop", "line.Capacity = 38;"): LAYER + " (what lies there is never less than what is written)",
    ("balance.c", "drop", "from = worker->NtNumber + 1;"): "only who gets an item first",
    ("balance.c", "drop", "entry->Misplaced = (ULONG64)ReadNoFence64(&worker->Misplaced);"): LAYER + " (nobody is misplaced)",
    ("worker.c", "drop", "InterlockedIncrement64(&worker->Misplaced);"): LAYER + " (nobody is misplaced)",
    ("worker.c", "drop", "PsTerminateSystemThread(STATUS_SUCCESS);"): "a thread that returns ends, too",
    ("worker.c", "constant FALSE to TRUE",
     "KeWaitForSingleObject(Worker->Thread, Executive, KernelMode, FALSE, NULL);"): LAYER + " (no alerts)",
    ("sync.c", "constant FALSE to TRUE", "KeDelayExecutionThread(KernelMode, FALSE, &interval);"): LAYER + " (no alerts)",
    ("device.c", "connect && to ||",
     "for (; length < HPN_HARDWARE_CHARACTERS && length < bytes / sizeof(WCHAR); length += 1) {"):
        LAYER + " (the list ends within both)",
    ("device.c", "off by one + 1 to + 2", "CHAR name[HPN_DEVICE_CHARACTERS + 1];"): LARGER,
    ("driver.c", "drop", "config.DriverPoolTag = HPN_POOL_TAG;"): LAYER + " (tags are for people)",
    ("driver.c", "drop", "HpnVetoInitialize(&driver->Veto);"): ZEROED,
    ("line.c", "compare > to >=", "if (Limit > room) {"): SAME,
    ("line.c", "drop", "Limit = room;"): LAYER + " (no record reaches the end of its line)",
    ("line.c", "compare > to >=",
     "if (Encoder->Cut || Encoder->Line->Length + (plain ? 1 : 3) > Encoder->End) {"): "a text is cut one character earlier",
    ("format.c", "compare > to >=", "room = room > HPN_TAIL_BYTES ? room - HPN_TAIL_BYTES : 0;"): SAME,
    ("log.c", "connect && to ||",
     "if ((point >= L'a' && point <= L'z') || (point >= L'A' && point <= L'Z') || (point >= L'0' && point <= L'9') ||"):
        LAYER + " (names of services have no other characters)",
    ("log.c", "drop", "KeQuerySystemTime(&time);"): OTHERWISE,
    ("log.c", "drop", "value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;"): OTHERWISE,
    ("log.c", "drop", "attributes.ParentObject = Config->Framework;"): "it is closed in any case",
    ("log.c", "drop", "WdfRegistryClose(Log->BootKey);"): PARENT,
    ("memory.c", "compare < to <=", "if (bytes < HPN_SMALLEST_BUFFER) {"): SAME,
    ("memory.c", "compare <= to <", "if (bytes <= before ||"): "a buffer of the same size is given back at once",
    ("memory.c", "drop", "loser = Buffer->Memory;"): "nobody writes into the buffer",
    ("parameters.c", "drop", "Parameters->IncludeExisting = 0;"): ZEROED,
    ("parameters.c", "drop", "Parameters->SecondRegistration = 0;"): ZEROED,
    ("parameters.c", "drop", "Parameters->Veto = 0;"): ZEROED,
    ("parameters.c", "drop", "WdfRegistryClose(key);"): PARENT,
    ("request.c", "off by one + 1 to + 2", "CHAR nonce[HPNOTIFY_NONCE_CHARACTERS + 1];"): LARGER,
    ("request.c", "compare > to >=", "if (room > sync->ProcessorCount) {"): SAME,
    ("request.c", "drop", "room = sync->ProcessorCount;"): "no more are told of than there are",
    ("sync.c", "compare >= to >", "if (NtNumber >= Sync->ProcessorCount) {"): LAYER + " (no number is that large)",
    ("sync.c", "drop", "attributes.ParentObject = Sync->Log->Framework;"): "it is deleted in any case",
    ("sync.c", "drop", "Sync->ProcessorsMemory = NULL;"): LAYER + " (a call that fails writes nothing)",
    ("sync.c", "drop", "KeInitializeSpinLock(&Sync->Lock);"): ZEROED,
    ("sync.c", "drop", "ExWaitForRundownProtectionRelease(&Sync->Callbacks);"): LAYER + " (deregistration waits itself)",
    ("log.c", "compare == to !=", "point == L'.' || point == L'-') {"):
        LAYER + " (names of services have no other characters)",
    ("sync.c", "constant STATUS_INVALID_PARAMETER to STATUS_SUCCESS", "return STATUS_INVALID_PARAMETER;"):
        LAYER + " (no number is that large)",
    ("sync.c", "compare >= to >", "if (!Sync->Works || Change->NtNumber >= Sync->ProcessorCount) {"):
        LAYER + " (no number is that large)",
    ("sync.c", "drop", "HpnSyncExitRecord(sync, enter, ChangeContext, *OperationStatus);"):
        LAYER + " (no callback comes after deregistration)",
    ("sync.c", "drop", "ExInitializeRundownProtection(&Sync->Callbacks);"): ZEROED,
    ("memory.c", "drop", "bytes = HPN_SMALLEST_BUFFER;"): LAYER + " (there is never so little memory)",
    ("memory.c", "compare > to >=", "} else if (bytes > HPN_LARGEST_BUFFER) {"): SAME,
    ("device.c", "compare < to <=",
     "while (index < RTL_NUMBER_OF(HpnMinors) - 1 && HpnMinors[index] != Minor) {"): LAYER + " (only these requests come)",
    ("async.c", "drop", "exit.Returned = STATUS_SUCCESS;"): "it is zero already",
    ("line.c", "compare > to >=",
     "Encoder->End = Line->Length + (Limit > HPN_CUT_BYTES ? Limit - HPN_CUT_BYTES : 0);"): SAME,
    ("balance.c", "compare < to <=", "if (best == NULL || pending < least) {"): "only who gets an item first",
    ("worker.c", "drop", "InterlockedIncrement64(&Worker->Misplaced);"): LAYER + " (nobody is misplaced)",
    ("line.c", "connect && to ||", "if (Text != NULL && Text->Buffer != NULL) {"): LAYER + " (a text always has a buffer)",
    ("worker.c", "drop", "NT_ASSERT(NT_SUCCESS(status));"): "an assertion that holds",
    ("log.c", "drop", "Log->Driver[index] = '\\0';"): ZEROED,
    ("memory.c", "compare > to >=", "if (bytes > Buffer->Bytes) {"): LAYER + " (arrivals come one at a time)",
    ("line.c", "drop", "HpnEncoderEnd(&encoder);"): LAYER + " (no text but a link is too long)",
    ("line.c", "compare < to <=", "if (count < Digits) {"): SAME,
    ("control.c", "drop", "attributes.ExecutionLevel = WdfExecutionLevelPassive;"): LAYER + " (requests come at PASSIVE_LEVEL)",
    ("device.c", "compare < to <=",
     "for (; length < HPN_HARDWARE_CHARACTERS && length < bytes / sizeof(WCHAR); length += 1) {"): LAYER + " (IDs are shorter)",
    ("device.c", "compare < to <=", "Name[length] = hardware[length] < 0x80 ? (CHAR)hardware[length] : '_';"):
        LAYER + " (no such character)",
    ("device.c", "drop", "line.Capacity = HPN_DEVICE_CHARACTERS;"):
        LAYER + " (what lies there is never less than what is written)",
    ("control.c", "drop", "WdfObjectDelete(device);"): LAYER + " (the driver object's end deletes its devices)",
    ("memory.c", "drop",
     "getRangesEx2 = (HPN_GET_PHYSICAL_MEMORY_RANGES_EX2 *)(ULONG_PTR)MmGetSystemRoutineAddress(&newer);"):
        LAYER + " (both routines tell the same)",
    ("log.c", "drop", "Log->Sample.Sequence = 0;"): LAYER + " (a call that fails writes nothing)",
    ("sync.c", "drop", "record.OperationStatus = (ULONG)OperationStatus;"): LAYER + " (no Start follows a veto)",
}  # fmt: skip
"""Mistakes that change nothing that can be seen: file, operator, text of the line, and why."""


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Yield every mistake that can be made in the text of a file."""
    lines = source.splitlines()
    inside = False
    for number, line in enumerate(lines, start=1):
        inside = (inside or line == "{") and line != "}"
        text = line.strip()
        if not inside or text.startswith(("/*", "*", "#", "UNREFERENCED", "PAGED_CODE")):
            continue

        def made(operator: str, changes: dict[int, str], line: int = number, text: str = text) -> Mutant:
            return Mutant(file, line, operator, text, changes)

        if found := CONDITION.match(line):
            yield made("negate", {number: f"{found[1]}(!{found[2]}){found[3]}"})
        for operator, swaps in SWAPS.items():
            for old, new in swaps:
                if old in line and not line.rstrip().endswith("*/"):
                    yield made(
                        f"{operator} {old.strip()} to {new.strip()}", {number: line.replace(old, new, 1)}
                    )
        if found := ACQUIRE.match(line):
            release = f"KeReleaseSpinLock({found[2]}, irql);"
            ends = [n for n, other in enumerate(lines[number:], start=number + 1) if other.strip() == release]
            if ends:
                yield made("no lock", {number: f"{found[1]}irql = 0;", ends[0]: f"{found[1]}(void)irql;"})
        elif STATEMENT.match(line) and not DECLARATION.match(line) and line.count("(") == line.count(")") \
                and "KeReleaseSpinLock" not in line and lines[number - 2].rstrip().endswith((";", "{", "}", "*/", ":", "")) \
                and not lines[number - 2].rstrip().endswith(("(", ",", "&&", "||", "=", "?")):  # fmt: skip
            yield made("drop", {number: ""})


def all_mutants() -> list[Mutant]:
    """Return every mutant of the driver."""
    return [
        mutant
        for path in sorted((DRIVER / "src").glob("*.c"))
        for mutant in mutants(path.name, path.read_text())
    ]


def places_at(revision: str) -> set[tuple[str, str, str]]:
    """Return the places of the driver's mutants at a revision. Raises CalledProcessError if git does not know it."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=DRIVER, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    files = [
        name for name in git("ls-tree", "--name-only", revision, "src/").splitlines() if name.endswith(".c")
    ]
    return {
        mutant.place
        for name in files
        for mutant in mutants(Path(name).name, git("show", f"{revision}:./{name}"))
    }


class Bench:
    """A copy of the driver in which mutants are made, built and tested, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "hpnotify"
        for part in ("src", "kmdf", "nt", "host"):
            shutil.copytree(DRIVER / part, self.tree / part)
        self._built: set[str] = set()
        self._tests: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._make("address,undefined")

    def _make(self, sanitizer: str) -> None:
        """Build the source without a mutation, once. Raises AssertionError if that fails: it would catch everything."""
        if sanitizer not in self._built:
            assert self._build(sanitizer, *PROGRAMS[sanitizer])
            self._built.add(sanitizer)

    def _build(self, sanitizer: str, *programs: str) -> bool:
        out = self.folder / sanitizer
        made = subprocess.run(
            ["make", "-s", "-C", str(self.tree / "host"), f"OUT={out}", f"SANITIZE={sanitizer}", "EXTRA=-w -Wno-error",
             *[f"{out}/{program}" for program in programs]],
            capture_output=True,
        )  # fmt: skip
        return made.returncode == 0

    def check(self) -> None:
        """Raise AssertionError if the tests fail without a mutation: they would catch everything."""
        assert self._passes("address,undefined", *TESTS, "-m", "not qemu")
        self._make("thread")
        assert self._passes("thread", str(HERE / "test_host_process.py"), "-k", THREADS)
        assert self._passes("address,undefined", str(HERE / "test_schedules.py"), "-k", SCHEDULES)

    def _passes(self, sanitizer: str, *arguments: str) -> bool:
        if self._ended:
            return False
        process = self._tests = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", "-q", "-o", f"cache_dir={self.folder}/cache", *arguments],
            cwd=DRIVER.parents[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "HOTPLUG_HARNESS_HOST_PROGRAMS": str(self.folder / sanitizer)},
        )  # fmt: skip
        try:
            return process.wait(timeout=HANGS) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False

    def end(self) -> None:
        """End the tests that run, and start no others: what they say then counts for nothing."""
        self._ended = True
        if self._tests is not None and self._tests.poll() is None:
            os.killpg(self._tests.pid, signal.SIGKILL)

    def try_out(self, mutant: Mutant) -> str:
        """Return what caught the mutation: ``locks``, ``compiler``, ``tests``, ``threads``, ``schedules``, or "" for nothing."""
        path = self.tree / "src" / mutant.file
        original = path.read_text()
        lines = original.splitlines()
        for number, text in mutant.changes.items():
            lines[number - 1] = text
        mutated = "\n".join(lines) + "\n"
        path.write_text(mutated)
        try:
            if any(unguarded(mutated)):
                return "locks"
            if not self._build("address,undefined", *PROGRAMS["address,undefined"]):
                return "compiler"
            if not self._passes("address,undefined", *TESTS, "-m", "not qemu"):
                return "tests"
            path.write_text(original)
            self._make("thread")
            path.write_text(mutated)
            if not self._build("thread", *PROGRAMS["thread"]) or not self._passes(
                "thread", str(HERE / "test_host_process.py"), "-k", THREADS
            ):
                return "threads"
            if not self._passes("address,undefined", str(HERE / "test_schedules.py"), "-k", SCHEDULES):
                return "schedules"
            return ""
        finally:
            path.write_text(original)


def run(chosen: list[Mutant], *, check: bool = False) -> Iterator[tuple[Mutant, str]]:
    """Try the mistakes out on two benches; yield each with who caught it. ``check``: try the tests without any first."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as workers:
        benches: SimpleQueue[Bench] = SimpleQueue()
        everything = list(workers.map(lambda n: Bench(Path(folder) / str(n)), range(2)))
        for bench in everything:
            benches.put(bench)

        def one(mutant: Mutant) -> str:
            bench = benches.get()
            try:
                return bench.try_out(mutant)
            finally:
                benches.put(bench)

        try:
            if check:
                everything[0].check()
            yield from zip(chosen, workers.map(one, chosen), strict=True)
        finally:
            workers.shutdown(wait=False, cancel_futures=True)
            for bench in everything:
                bench.end()


def sample(count: int, seed: int) -> list[Mutant]:
    """Return ``count`` mistakes drawn by ``seed``; all of them if there are no more."""
    everything = all_mutants()
    return random.Random(seed).sample(everything, min(count, len(everything)))


def excuse(mutant: Mutant) -> str:
    """Return why a mistake changes nothing, or ""."""
    return EQUIVALENT.get(mutant.place, "")


class Log:
    """What became of each mistake, kept in a file from one run to the next, as long as driver and tests are the same."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.caught: dict[str, str] = {}
        tests = [*map(Path, TESTS), HERE / "test_schedules.py", HERE / "lock_discipline.py"]
        sources = [*sorted((DRIVER / "src").glob("*.[ch]")), *tests]
        state = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
        if path is not None and path.exists():
            first, *lines = path.read_text().splitlines()
            if first != state:
                sys.exit(f"{path} is about another driver or other tests; delete it or name another file")
            self.caught = {name: caught for caught, _, name in (line.partition("\t") for line in lines)}
        elif path is not None:
            path.write_text(f"{state}\n")

    def add(self, mutant: Mutant, caught: str) -> None:
        """Note who caught a mistake."""
        self.caught[mutant.name] = caught
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(f"{caught}\t{mutant.name}\n")


def verdicts(chosen: list[Mutant], log: Log) -> Iterable[tuple[Mutant, str]]:
    """Yield each mistake and who caught it, from the log or by trying it out."""
    known = [mutant for mutant in chosen if mutant.name in log.caught]
    yield from ((mutant, log.caught[mutant.name]) for mutant in known)
    if len(known) < len(chosen):
        for mutant, caught in run([m for m in chosen if m.name not in log.caught], check=True):
            log.add(mutant, caught)
            yield mutant, caught


def main(chosen: list[Mutant], log: Log) -> int:
    """Try the mutants, print and count."""
    counts: Counter[str] = Counter()
    begun = time.monotonic()
    for mutant, caught in verdicts(chosen, log):
        verdict = caught or (f"equivalent: {excuse(mutant)}" if excuse(mutant) else "SURVIVED")
        counts[verdict.partition(":")[0]] += 1
        print(f"{verdict:12} {mutant.name}", flush=True)
    print(
        ", ".join(f"{name} {number}" for name, number in sorted(counts.items())),
        f"of {len(all_mutants())} in all, {time.monotonic() - begun:.0f} seconds",
    )
    return int(counts["SURVIVED"] > 0)


def part_of(text: str) -> tuple[int, int]:
    """Read ``K/N``, from 1/N to N/N."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no part such as 2/5")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Mutate the driver's source and see which tests catch it.")
    parser.add_argument("count", nargs="?", type=int, default=1_000_000, help="how many; default: all")
    parser.add_argument("seed", nargs="?", type=int, default=1, help="which of them, and in what order")
    parser.add_argument(
        "--shard", type=part_of, default=(1, 1), metavar="K/N", help="the Kth of N equal parts"
    )
    parser.add_argument("--since", metavar="REVISION", help="only lines that the file did not have there")
    parser.add_argument("--log", type=Path, metavar="FILE", help="go on where FILE ends, and write on in it")
    parser.add_argument("--patience", type=int, default=HANGS, metavar="SECONDS", help="until tests hang")
    given = parser.parse_args()
    HANGS = given.patience
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    which, of = given.shard
    known = places_at(given.since) if given.since else set[tuple[str, str, str]]()
    chosen = [mutant for mutant in sample(given.count, given.seed) if mutant.place not in known]
    sys.exit(main(chosen[which - 1 :: of], Log(given.log)))
