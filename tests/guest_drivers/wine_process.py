# SPDX-License-Identifier: MIT
"""The driver's file executed by Wine: builds the double of the framework's loader, runs scripts, reads what was said."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
from guest_drivers.host_process import DRIVER, Transcript, read
from guest_drivers.wine_prefix import Wine

from harness.history.driver import AnyDriverRecord

SYSTEM = "C:\\windows\\system32\\drivers"
HPNCTL = "run C:\\hpn\\hpnctl.exe"


class Run(msgspec.Struct):
    """A script's end: what the driver said by its channels, what each line answered, what was left behind."""

    transcript: Transcript
    answers: list[int]
    output: list[str]
    ring: list[AnyDriverRecord]
    left: dict[str, int]


def build_double(folder: Path) -> Path:
    """Build the double and the client into ``folder``."""
    subprocess.run(
        ["make", "-s", "-j2", "-C", str(DRIVER / "wine"), f"OUT={folder}"], check=True, timeout=150
    )
    return folder


def execute(wine: Wine, double: Path, driver: Path, *script: str) -> Run:
    """Run a script on a fresh machine of two processors, six at most, with the driver installed as ``hpnotify``."""
    place = wine.drive / "hpn"
    place.mkdir(exist_ok=True)
    shutil.copy(double / "wdfldr.sys", wine.drive / "windows" / "system32" / "drivers")
    shutil.copy(double / "drive.exe", place)
    # A second service needs a file of its own: one file is loaded once.
    for name in ("hpnotify.sys", "second.sys"):
        shutil.copy(driver, place / name)
    # Wine 8 knows no version in the decoration of a Models section.
    inf = (DRIVER / "wdk" / "hpnotify.inf").read_text(encoding="ascii")
    (place / "hpnotify.inf").write_text(inf.replace("NTamd64.10.0", "NTamd64"), encoding="ascii")
    shutil.copy(driver.with_name("hpnctl.exe"), place)
    log = wine.drive / "hpnotify-transcript.log"
    log.unlink(missing_ok=True)
    lines = [
        f"install hpnwine {SYSTEM}\\wdfldr.sys",
        "install hpnotify C:\\hpn\\hpnotify.sys",
        "load hpnwine",
        *script,
        "finish",
        "unload hpnwine",
    ]
    # Seen twice on busy hosts: the program ended with 1 before it took an order, while services of the run before were ending.
    wine.server("--wait")
    orders = "".join(f"{line}\n" for line in lines)
    done = wine.run(place / "drive.exe", stdin=orders)
    if (done.returncode, done.stdout) == (1, ""):
        done = wine.run(place / "drive.exe", stdin=orders)
    assert 0 == done.returncode, f"{done.returncode}: {str(done.stdout)[-2000:]}{str(done.stderr)[-2000:]}"
    answers = [int(line[2:]) for line in done.stdout.splitlines() if line.startswith("= ")]
    output = [line for line in done.stdout.splitlines() if not line.startswith("= ")]
    said, _, last = log.read_text(encoding="ascii").partition("left ")
    assert len(lines) == len(answers)
    assert driver.read_bytes() == (place / "hpnotify.sys").read_bytes()
    return Run(
        transcript=read(said),
        answers=answers[3:-2],
        output=[line for line in output if not line.startswith("{")],
        ring=[msgspec.json.decode(line, type=AnyDriverRecord) for line in output if line.startswith("{")],
        left={name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)", last)},
    )
