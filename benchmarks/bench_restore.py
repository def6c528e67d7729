# SPDX-License-Identifier: MIT
"""From a ready snapshot to the twin's first answer, against a bare script on the same snapshot and against a boot.

Each round takes one of each, in turn: ``ours`` (machine, agent, nonce), ``bare`` (the same QEMU arguments and a
socket), ``cold`` (a boot to ready by the harness). ``added`` is the same with a state that was saved after two
processors and a DIMM were hot-added. Times are in milliseconds, from the decision to the guest's echo of a nonce.
Limits, by the medians of states before any add: ours at most 1.25 times bare, and a boot at least 8 times ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from harness.deadline import Deadline
from harness.guest.bootable import Bootable, GuestOptions, OutsideSigns
from harness.guest.guest_types import GUEST_TYPES
from harness.history.writer import HistoryWriter
from harness.host.qemu_build import find_qemu
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.machine.snapshot import MachineSnapshot, restored
from harness.setup.cache import cache_directory

MOST_OF_BARE = 1.25
LEAST_OF_BOOT = 8.0


def soon() -> Deadline:
    """A time limit that no step approaches."""
    return Deadline(120, "benchmark")


class Twin:
    """A twin that can be booted, saved, and restored."""

    def __init__(self) -> None:
        self.guest_type = GUEST_TYPES["twin"]
        spec = MachineSpec(accelerator="tcg", qemu=find_qemu().path)
        self.options = GuestOptions(spec=spec, cache=cache_directory(os.environ), directory=Path())
        self.bootable: Bootable = self.guest_type.prepare(
            self.options, Deadline(900, "image"), lambda _text: None
        )
        self.argv: list[str] = []

    def run(
        self,
        spec: MachineSpec,
        place: Path,
        state: MachineSnapshot | None,
        work: Callable[[QemuMachine], None],
    ) -> float:
        """Boot or restore, wait for the echo of a nonce, and do ``work``. Return the milliseconds until the echo."""
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(HistoryWriter(place / "history.jsonl"))
            began = time.perf_counter()
            machine = stack.enter_context(QemuMachine(spec, place, writer, name="bench"))
            machine.start(soon())
            guest = self.guest_type.attach(machine, writer, OutsideSigns(), self.options)
            stack.callback(guest.close)
            machine.resume(soon())
            if state is None:
                guest.wait_ready(soon())
                guest.prove_alive(secrets.token_hex(8), soon())
            else:
                guest.revive(state.said, secrets.token_hex(8), soon())
            took = (time.perf_counter() - began) * 1000
            self.argv = machine.argv
            work(machine)
        return took

    def save(self, directory: Path, add: Callable[[QemuMachine], None]) -> MachineSnapshot:
        """Boot, call ``add``, and save."""
        found: list[MachineSnapshot] = []

        def work(machine: QemuMachine) -> None:
            add(machine)
            memory, added = machine.save(directory / "memory", soon())
            found.append(
                MachineSnapshot(digest="", directory=str(directory), mapped=memory.mapped, added=added)
            )

        self.run(self.bootable.spec, directory, None, work)
        return found[0]


def plug(machine: QemuMachine) -> None:
    """Add two processors and a DIMM, and wait until the guest has taken them."""
    for number in (2, 3):
        machine.add_cpu(f"warm-{number}", machine.cpu_slots(soon())[number], soon())
    machine.add_dimm("warm-dimm", 256 << 20, soon())
    soon().poll(lambda: len(machine.events("ACPI_DEVICE_OST")) >= 3)


def bare(argv: list[str], place: Path, memory: Path) -> float:
    """Restore with the same arguments and without the harness: spawn, wait until the state is read, continue, and wait
    for the echo."""
    began = time.perf_counter()
    with memory.open("rb") as state:
        process = subprocess.Popen(argv, stdin=state, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        monitor = connected(place / "qmp")
        talk = monitor.makefile("rw")
        talk.readline()

        def ask(command: str) -> dict[str, object]:
            talk.write(json.dumps({"execute": command}) + "\n")
            talk.flush()
            while True:
                said = json.loads(talk.readline())
                if "return" in said:
                    return dict(said)

        ask("qmp_capabilities")
        while dict(ask("query-status")["return"])["status"] == "inmigrate":  # type: ignore[call-overload]
            pass
        control = connected(place / "control")
        ask("cont")
        nonce = secrets.token_hex(8)
        control.sendall(f"1 ping nonce={nonce}\n".encode())
        heard = b""
        while nonce.encode() not in heard:
            heard += control.recv(4096)
        took = (time.perf_counter() - began) * 1000
        talk.write('{"execute": "quit"}\n')
        talk.flush()
        process.wait()
        control.close()
        monitor.close()
    finally:
        process.kill()
        process.wait()
    return took


def connected(path: Path) -> socket.socket:
    """Connect as soon as the socket exists."""
    found = socket.socket(socket.AF_UNIX)
    while True:
        try:
            found.connect(str(path))
        except OSError:
            time.sleep(0.0005)
        else:
            return found


def at(argv: list[str], place: Path) -> list[str]:
    """Return QEMU's command with its channels in ``place``."""
    words = []
    for word in argv:
        for name in ("console.log", "debugcon.log", "qmp", "control"):
            if word.startswith(("file,", "socket,")) and f"/{name}" in word:
                key, _, rest = word.partition("path=")
                _, comma, rest = rest.partition(",")
                word = f"{key}path={place / name}{comma}{rest}"
        words.append(word)
    return words


def figures(samples: list[float]) -> dict[str, float]:
    """Return the median and the extremes."""
    return {
        "median_ms": round(statistics.median(samples), 1),
        "least_ms": round(min(samples), 1),
        "most_ms": round(max(samples), 1),
    }


def measure(rounds: int) -> dict[str, object]:
    """Return all figures."""
    twin = Twin()
    times: dict[str, list[float]] = {
        name: [] for name in ("ours", "bare", "cold", "ours_added", "bare_added")
    }
    own: list[float] = []
    with tempfile.TemporaryDirectory(prefix="restore-") as name:
        top = Path(name)
        states = {}
        for label, add in (("", lambda _machine: None), ("_added", plug)):
            directory = top / f"state{label}"
            directory.mkdir()
            states[label] = twin.save(directory, add)
        for number in range(rounds):
            for label, state in states.items():
                place = top / f"{number}{label}"
                place.mkdir()
                spec = restored(twin.bootable.spec, state, place, soon())

                def weigh(machine: QemuMachine) -> None:
                    own.append(psutil.Process(machine.pid).memory_full_info().uss / (1 << 20))

                times[f"ours{label}"].append(
                    twin.run(spec, place, state, weigh if not label else lambda _: None)
                )
                again = top / f"{number}{label}-bare"
                again.mkdir()
                times[f"bare{label}"].append(bare(at(twin.argv, again), again, state.memory))
            place = top / f"{number}-cold"
            place.mkdir()
            times["cold"].append(twin.run(twin.bootable.spec, place, None, lambda _machine: None))
        disk = {
            label or "ready": round(state.memory.stat().st_blocks * 512 / (1 << 20), 1)
            for label, state in states.items()
        }
        extra = sum(file.stat().st_size for file in (top / "0").iterdir()) / (1 << 20)
    medians = {name: statistics.median(samples) for name, samples in times.items()}
    return {
        "what": "ready snapshot to the twin's first answer",
        "qemu": find_qemu().version,
        "rounds": rounds,
        **{name: figures(samples) for name, samples in times.items()},
        "ours_to_bare": round(medians["ours"] / medians["bare"], 2),
        "cold_to_ours": round(medians["cold"] / medians["ours"], 1),
        "added_ours_to_bare": round(medians["ours_added"] / medians["bare_added"], 2),
        "state_mib": disk,
        "memory_of_one_more_twin_mib": round(statistics.median(own), 1),
        "disk_of_one_more_twin_mib": round(extra, 3),
    }


def main() -> int:
    """Print the measurement. The exit code says whether a limit was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    found = measure(parser.parse_args().rounds)
    print(json.dumps(found))
    if float(str(found["ours_to_bare"])) > MOST_OF_BARE or float(str(found["cold_to_ours"])) < LEAST_OF_BOOT:
        print(f"limits: at most {MOST_OF_BARE} of bare, boot at least {LEAST_OF_BOOT} times", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
