# SPDX-License-Identifier: MIT
"""The clock of a guest that is ready, held against its machine's: a scripted Windows over real WinRM, on a real QEMU."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from guest.windows.conftest import MakeGuest, ScriptedWindows
from part_markers import needs

from harness.deadline import Deadline
from harness.driver import certificate
from harness.guest.windows.clock import TOLERANCE, check_clock, not_yet_valid, ran_seconds
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.machine.attachments import RealTimeClock
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine

START = 1_772_359_260
"""2026-03-01 10:01:00, UTC."""


@pytest.fixture
@needs("qemu")
def machine(tmp_path: Path, writer: HistoryWriter, request: pytest.FixtureRequest) -> Iterator[QemuMachine]:
    """The machine of the other tests of a guest, with a clock."""
    spec = MachineSpec(
        accelerator="tcg", qemu=qemu_build.find_program(), memory=128 << 20, screen=True, monitor=True,
        clock=getattr(request, "param", RealTimeClock(start=START)),
    )  # fmt: skip
    with QemuMachine(spec, tmp_path / "run", writer) as machine:
        machine.start(Deadline(30, "start QEMU"))
        yield machine


@pytest.mark.qemu
@pytest.mark.remote
@pytest.mark.parametrize(
    ("machine", "begins", "ahead", "state", "words"),
    [
        (RealTimeClock(start=START), START, 0, "ok", "s ahead of the clock that began at 2026-03-01T10:01:00Z"),
        (RealTimeClock(start=START), START, 4 * 60, "ok", "s ahead of the clock"),
        (RealTimeClock(start=START), START, 3600, "doubtful", "s ahead of the clock"),
        (RealTimeClock(start=START), START, -15 * 60, "doubtful", "s behind the clock"),
        (RealTimeClock(), 0, 0, "ok", "the host's"),
        (RealTimeClock(), 0, 2 * 3600, "doubtful", "s ahead of the host's, more than 300 s: dates of certificates"),
        (None, 0, -86400, "doubtful", "s behind the host's"),
    ],
    indirect=["machine"],
)  # fmt: skip
def test_a_clock_that_is_off_is_a_finding(
    make_guest: MakeGuest,
    windows: ScriptedWindows,
    tmp_path: Path,
    within: Deadline,
    begins: int,
    ahead: float,
    state: str,
    words: str,
) -> None:
    """By more than the tolerance, against the machine's beginning or the host's; it is in the history, and ends nothing."""
    windows.change(ahead=(begins - time.time() if begins else 0) + ahead)
    guest = make_guest(look=True)
    guest.wait_ready(within)
    assert guest.clock is not None
    assert state == guest.clock.state
    assert words in guest.clock.found
    history = (tmp_path / "history.jsonl").read_text()
    assert ("clock: doubtful: its UTC is " in history) == (state == "doubtful")
    assert " conditions hold" in history
    assert 1 == guest.ready_count


@pytest.mark.qemu
def test_a_machine_that_stood_ran_no_longer(machine: QemuMachine, within: Deadline) -> None:
    """Only what lies between QEMU's RESUME and STOP counts; a second RESUME of a machine that runs counts nothing."""
    assert 0 == ran_seconds(machine, time.monotonic_ns())
    began = time.monotonic()
    machine.resume(within)
    within.poll(lambda: ran_seconds(machine, time.monotonic_ns()) > 0.5)
    machine.resume(within)
    machine.pause(within)
    within.poll(lambda: bool(machine.events("STOP")))
    ran = ran_seconds(machine, time.monotonic_ns())
    assert 0.5 < ran <= time.monotonic() - began
    assert ran == ran_seconds(machine, time.monotonic_ns() + 10**12)
    machine.resume(within)
    within.poll(lambda: len(machine.events("RESUME")) >= 2)
    assert ran_seconds(machine, time.monotonic_ns() + 10**12) > ran + 900


def test_the_tolerance_tells_a_slow_clock_from_another_zone() -> None:
    """Zones differ by a quarter of an hour at least."""
    assert 60 <= TOLERANCE < 15 * 60


def test_a_certificate_that_is_not_valid_yet_is_told(tmp_path: Path) -> None:
    """One of a signer who made it after the template was built; ours is older than any template, and what is none is left alone."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    ours = certificate.ensure(tmp_path / "ours").der
    assert "" == not_yet_valid(ours, START)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "theirs")])
    begins = datetime.datetime.fromtimestamp(START + 3600, datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(begins).not_valid_after(begins + datetime.timedelta(days=9))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    theirs = tmp_path / "theirs.cer"
    theirs.write_bytes(made.public_bytes(serialization.Encoding.DER))
    assert "theirs.cer is valid from 2026-03-01T11:01:00Z on" in not_yet_valid(theirs, START)
    assert "--real-time" in not_yet_valid(theirs, START)
    assert "" == not_yet_valid(theirs, START + 7200)
    assert "" == not_yet_valid(theirs, 0) == not_yet_valid(None, START)
    theirs.write_bytes(b"no certificate")
    assert "" == not_yet_valid(theirs, START)
    assert "" == not_yet_valid(tmp_path / "none.cer", START)


@pytest.mark.qemu
def test_what_a_guest_says_may_be_anything(machine: QemuMachine) -> None:
    """A year that does not exist is a finding too."""
    ready = msgspec.convert({"caption": "x", "build": "1", "started": 0, "now": 0}, type=_ready())
    assert "doubtful" == check_clock(machine, ready).state
    far = msgspec.structs.replace(ready, now=(1 << 62) - 1)
    assert "doubtful" == check_clock(machine, far).state


def _ready() -> type:
    from harness.guest.windows.answer import Ready

    return Ready
