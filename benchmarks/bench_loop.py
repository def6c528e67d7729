# SPDX-License-Identifier: MIT
"""A user's loop: one processor added to the twin, by the harness and by two peers, stage by stage. Prints JSON.

The peers are a bare script (``bare_loop.py``, the standard library only) and labgrid (``labgrid_loop.py``), with the
harness's QEMU arguments, kernel, initrd, driver and processor. The harness is started as ``harness``, as ``./lab
harness`` and under pytest. Booted and restored loops take turns: each round has one of each, the next round in another
order. The times of the harness's stages come from its records (``harness show RUN --timing`` prints them for any run).
Only the start and the exit of the process are measured from outside.

The first restored loop of each round is a bare script with a column of its own. The kernel of a host that is itself a virtual
machine may give free memory back to the hypervisor (Linux: mm/page_reporting.c). A restored guest touches its whole memory
at once, so the first one after a pause waits for it. The others find memory that the one before them has freed.

labgrid is installed from the package index into an environment in the cache directory. If that fails, its column is
empty. Each figure is a median with the least and the most. ``--markdown`` prints the tables of docs/benchmarks.md
instead, and with ``--of FILE`` those of a JSON file that was written before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from benchmarks.bench_restore import at
from harness.history.driver import START, SyncEnter
from harness.history.reader import History
from harness.history.record import Add, End, GuestEvent, OperationProgress, Ost, Qmp, Record, Stage
from harness.history.run_directory import RunDirectory
from harness.setup.cache import cache_directory

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LABGRID = "labgrid==26.0.1"
LONGEST = 300

PLAN = 'name = "one-processor"\n\n[[do]]\nop = "add-cpu"\n'

TEST = """\
def test_one_processor(hotplug):
    hotplug.add_cpu()
"""

STAGES = {
    "start of Python to start of QEMU": ("python", "qemu"),
    "start of QEMU to ready": ("qemu", "ready"),
    "ready to `device_add`": ("ready", "add"),
    "loading the driver, of that": ("ready", "loaded"),
    "`device_add` to `_OST`": ("add", "ost"),
    "`device_add` to Start": ("add", "start"),
    "`device_add` to the guest says online": ("add", "online"),
    "online to settled": ("online", "settled"),
    "end to exit": ("end", "exit"),
    "whole process": ("begin", "exit"),
}
"""The rows of the table: the moments at which each stage begins and ends."""

Moments = dict[str, int]
Environment = dict[str, str]
Samples = dict[str, dict[str, list[float]]]

FIRST = "bare, first restored"
"""The column of the loop that gets the memory back which the host has given away."""


def variables() -> Environment:
    """Return the environment of every process: bytecode is written, because otherwise each start compiles the modules
    again."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**own, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def timed(command: list[str], *, cwd: Path, fed: str = "") -> tuple[Moments, str]:
    """Execute a command. Return its start, its exit, and its output."""
    began = time.monotonic_ns()
    done = subprocess.run(
        command,
        cwd=cwd,
        env=variables(),
        input=fed,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    exited = time.monotonic_ns()
    if done.returncode:
        sys.exit(f"{command}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return {"begin": began, "exit": exited}, done.stdout


def moments(records: list[Record]) -> Moments:
    """Return the times of the stages of a run of the harness, from its records."""
    found: Moments = {}

    def note(moment: str, record: Record) -> None:
        found.setdefault(moment, record.host_ns)

    for record in records:
        match record:
            case Stage(name="qemu", phase="begin"):
                note("qemu", record)
            case GuestEvent(event="ready") if "qemu" in found:
                note("ready", record)
            case Stage(name="boot", phase="end"):
                note("ready", record)
            case Stage(name="driver", phase="end"):
                note("loaded", record)
            case Qmp(direction="out", message={"execute": "device_add"}):
                note("add", record)
            case Ost() if "add" in found:
                note("ost", record)
            case SyncEnter(state=state) if "add" in found and state == START:
                note("start", record)
            case GuestEvent(event="online") if "add" in found:
                note("online", record)
            case Add(phase="settled"):
                note("settled", record)
            case OperationProgress(phase="end"):
                found["end"] = record.host_ns
            case End():
                pass
    return found


class Loop:
    """The participants. Each executes one loop in a new folder and returns its times."""

    def __init__(self, top: Path, labgrid: Path | None) -> None:
        self.top = top
        self.labgrid = labgrid
        self.made = 0
        self.command: dict[bool, list[str]] = {}
        self.memory = ""
        (top / "one-processor.toml").write_text(PLAN)
        (top / "test_loop.py").write_text(TEST)
        (top / "pytest.ini").write_text("[pytest]\n")

    def place(self) -> Path:
        """Make a folder."""
        self.made += 1
        found = self.top / str(self.made)
        found.mkdir()
        return found

    def run(self, words: list[str], *, restored: bool) -> Moments:
        """Run the plan with the harness. Keep QEMU's command for the peers."""
        place = self.place()
        way = ["--restore"] if restored else ["--cold"]
        plan = str(self.top / "one-processor.toml")
        outside, _ = timed([*words, "run", plan, "--accel", "tcg", *way, "--runs", str(place)], cwd=self.top)
        return {**self.inside(place / "latest", restored=restored), **outside, "python": outside["begin"]}

    def inside(self, run: Path, *, restored: bool) -> Moments:
        """Return the times that a run recorded. Keep the arguments of its QEMU for the bare script."""
        facts = RunDirectory(run.resolve()).facts()
        self.command[restored] = list(facts.qemu_argv)
        if restored and not self.memory:
            self.memory = str(cache_directory(os.environ) / "states" / facts.state[:16] / "memory")
        return moments(list(History(run)))

    def harness(self, *, restored: bool) -> Moments:
        """``harness run``."""
        return self.run([sys.executable, "-m", "harness"], restored=restored)

    def lab(self, *, restored: bool) -> Moments:
        """``./lab harness run``."""
        return self.run([str(ROOT / "lab"), "harness"], restored=restored)

    def pytest(self, *, restored: bool) -> Moments:
        """The same in a test of a user's suite. The end is that of its last operation, and the exit is pytest's.

        No other plugin is loaded, and pytest's temporary folder has no earlier sessions to remove: both would be
        measured too.
        """
        place = self.place()
        outside, _ = timed(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "harness.pytest_plugin",
                "--basetemp", str(self.place()), "--hotplug-accel", "tcg",
                "--hotplug-boot", "restore" if restored else "cold", "--hotplug-runs", str(place), "test_loop.py",
            ],
            cwd=self.top,
        )  # fmt: skip
        (run,) = [one for one in place.iterdir() if one.is_dir() and not one.is_symlink()]
        return {**self.inside(run, restored=restored), **outside, "python": outside["begin"]}

    def bare(self, *, restored: bool) -> Moments:
        """The bare script."""
        place = self.place()
        words = [
            sys.executable,
            "-I",
            "-S",
            str(HERE / "bare_loop.py"),
            str(place),
            self.memory if restored else "",
        ]
        outside, said = timed(words, cwd=self.top, fed=json.dumps(at(self.command[restored], place)))
        return {**json.loads(said), **outside, "python": outside["begin"]}

    def grid(self) -> Moments:
        """labgrid, which cannot restore machines."""
        place = self.place()
        words = [str(self.labgrid), str(HERE / "labgrid_loop.py"), str(place)]
        outside, said = timed(words, cwd=self.top, fed=json.dumps(at(self.command[False], place)))
        return {**json.loads(said), **outside, "python": outside["begin"]}


def labgrid_python() -> Path | None:
    """Return the Python of an environment with labgrid, None if it cannot be installed."""
    place = cache_directory(os.environ) / "labgrid" / LABGRID.partition("==")[2]
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        venv.create(place, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", LABGRID], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.stderr.write(f"labgrid cannot be installed: {done.stderr.strip().splitlines()[-1:]}\n")
            return None
        (place / "complete").touch()
    return python


def measure(rounds: int, *, with_labgrid: bool) -> Samples:
    """Return the milliseconds of each stage of each participant."""
    python = labgrid_python() if with_labgrid else None
    with tempfile.TemporaryDirectory(prefix="loop-") as name:
        loop = Loop(Path(name), python)
        booted = {
            "ours, booted": lambda: loop.harness(restored=False),
            "bare, booted": lambda: loop.bare(restored=False),
            **({"labgrid": loop.grid} if python is not None else {}),
            "`./lab`, booted": lambda: loop.lab(restored=False),
            "pytest, booted": lambda: loop.pytest(restored=False),
        }
        restored = {
            "ours, restored": lambda: loop.harness(restored=True),
            "bare, restored": lambda: loop.bare(restored=True),
            "`./lab`, restored": lambda: loop.lab(restored=True),
            "pytest, restored": lambda: loop.pytest(restored=True),
        }
        # QEMU's commands and the snapshot come from the harness's runs, and every cache is warm afterwards.
        for work in (*booted.values(), *restored.values()):
            work()
        participants = {**booted, **restored, FIRST: restored["bare, restored"]}
        found: Samples = {one: {stage: [] for stage in STAGES} for one in participants}
        for number in range(rounds):
            for participant in [*rotated([*booted], number), FIRST, *rotated([*restored], number)]:
                seen = participants[participant]()
                for stage, (begin, end) in STAGES.items():
                    if begin in seen and end in seen:
                        found[participant][stage].append((seen[end] - seen[begin]) / 1e6)
    return found


def rotated(names: list[str], by: int) -> list[str]:
    """Return the names from another one on, so that each of them is at each place in turn."""
    by %= len(names)
    return names[by:] + names[:by]


def figures(samples: Samples) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median, the least and the most of each stage that a participant has."""
    return {
        one: {
            stage: {
                "median": round(statistics.median(times), 1),
                "least": round(min(times), 1),
                "most": round(max(times), 1),
            }
            for stage, times in stages.items()
            if times
        }
        for one, stages in samples.items()
    }


def markdown(measured: dict[str, Any]) -> str:
    """Return the tables of docs/benchmarks.md."""
    columns = measured["participants"]
    lines = [
        f"From {measured['date']}, revision {measured['revision']}, {measured['cores']} cores, load {measured['load']},",
        f"Python {measured['python']}; medians and ranges of {measured['rounds']} interleaved rounds, in ms:",
    ]
    for names in (
        [one for one in columns if "restored" not in one],
        [one for one in columns if "restored" in one],
    ):
        lines += [
            "",
            f"| stage | {' | '.join(names)} |",
            f"| --- |{' --- |' * len(names)}",
            *(
                f"| {stage} | {' | '.join(cell(columns[one].get(stage)) for one in names)} |"
                for stage in STAGES
            ),
        ]
    return "\n".join(lines)


def cell(figure: dict[str, float] | None) -> str:
    """Return a median with its range."""
    if figure is None:
        return "-"
    return f"{figure['median']:.0f} ({figure['least']:.0f} to {figure['most']:.0f})"


def revision() -> str:
    """Return the revision of this tree."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> int:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-labgrid", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/benchmarks.md")
    parser.add_argument("--of", type=Path, metavar="FILE", help="measure nothing: take the figures of FILE")
    arguments = parser.parse_args()
    if arguments.of is not None:
        measured = json.loads(arguments.of.read_text())
        measured = measured.get("loop", measured)
        if "participants" not in measured:
            sys.exit(f"{arguments.of}: it has no ranges of a loop: measure again, with --json FILE")
    else:
        load = round(os.getloadavg()[0], 1)
        participants = figures(measure(arguments.rounds, with_labgrid=not arguments.without_labgrid))
        measured = {
            "what": "the loop, in ms",
            "date": time.strftime("%Y-%m-%d"),
            "revision": revision(),
            "cores": os.cpu_count(),
            "load": load,
            "python": platform.python_version(),
            "rounds": arguments.rounds,
            "participants": participants,
            "ours to bare": {way: to_bare(participants, way) for way in ("booted", "restored")},
        }
    print(markdown(measured) if arguments.markdown else json.dumps(measured))
    return 0


def to_bare(participants: dict[str, dict[str, dict[str, float]]], way: str) -> float:
    """Return how many times as long as the bare script the harness takes, by the medians of whole processes."""
    ours, bare = (participants[f"{one}, {way}"]["whole process"]["median"] for one in ("ours", "bare"))
    return round(ours / bare, 2)


if __name__ == "__main__":
    sys.exit(main())
