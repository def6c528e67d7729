# SPDX-License-Identifier: MIT
"""The main job: the whole demo, boot to ready, and device_add to the driver's Start record. Prints JSON.

Figures come from the histories of real runs of the command. The demo's wall time is measured from outside, the rest
from the records (``host_ns``). The peer is a bare QEMU on the same image, timed to the same ready line on the console.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.guest.twin.image import TwinImage, build
from harness.history.driver import START, SyncEnter
from harness.history.reader import History
from harness.history.record import Add, GuestEvent, Stage
from harness.host.qemu_build import find_qemu
from harness.setup.cache import cache_directory


def demo() -> dict[str, float]:
    """Run the demo once. Return the seconds of the whole and of its parts."""
    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        command = [sys.executable, "-m", "harness", "demo", "--accel", "tcg", "--runs", place]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        whole = time.monotonic() - began
        records = list(History(Path(place) / "latest"))
    stages = {(x.name, x.phase): x.host_ns for x in records if isinstance(x, Stage)}
    ready = next(x.host_ns for x in records if isinstance(x, GuestEvent) and x.event == "ready")
    add = next(x.host_ns for x in records if isinstance(x, Add) and x.phase == "begin")
    start = next(
        x.host_ns for x in records if isinstance(x, SyncEnter) and x.state == START and x.host_ns > add
    )
    return {
        "demo_s": whole,
        "spawn_to_greeting_s": (stages["qemu", "end"] - stages["qemu", "begin"]) / 1e9,
        "boot_to_ready_s": (ready - stages["boot", "begin"]) / 1e9,
        "device_add_to_start_s": (start - add) / 1e9,
    }


def bare_boot(image: TwinImage) -> float:
    """Boot the same image with a bare QEMU. Return the seconds from spawn to the agent's ready line."""
    with tempfile.TemporaryDirectory() as place:
        control = Path(place) / "control"
        command = [
            str(find_qemu().path), "-machine", "q35", "-accel", "tcg", "-nodefaults", "-display", "none",
            "-cpu", "max", "-smp", "2,maxcpus=6,sockets=6,cores=1,threads=1", "-m", "512M,slots=4,maxmem=4G",
            "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", image.append,
            "-serial", "null", "-serial", f"unix:{control},server=on,wait=on",
        ]  # fmt: skip
        began = time.monotonic()
        with (
            subprocess.Popen(command, stdout=subprocess.DEVNULL) as qemu,
            socket.socket(socket.AF_UNIX) as port,
        ):
            Deadline(20, "control socket").poll(control.exists, interval=0.002)
            port.connect(str(control))
            port.settimeout(60)
            said = b""
            while b"! ready" not in said:
                said += port.recv(4096)
            took = time.monotonic() - began
            qemu.kill()
    return took


def main() -> None:
    """Print medians, ranges, and the ratio of the boot to the bare one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    image = build(cache_directory(os.environ), Deadline(900, "image"))
    runs: list[dict[str, float]] = []
    bare: list[float] = []
    for _ in range(rounds):
        bare.append(bare_boot(image))
        runs.append(demo())
    result: dict[str, Any] = {"benchmark": "demo", "rounds": rounds, "accelerator": "tcg"}
    for key in runs[0]:
        values = sorted(run[key] for run in runs)
        result[key] = {"median": statistics.median(values), "min": values[0], "max": values[-1]}
    result["bare_boot_s"] = {"median": statistics.median(bare), "min": min(bare), "max": max(bare)}
    result["boot_ratio"] = statistics.median(
        run["boot_to_ready_s"] + run["spawn_to_greeting_s"] for run in runs
    ) / statistics.median(bare)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
