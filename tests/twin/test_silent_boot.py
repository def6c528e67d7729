# SPDX-License-Identifier: MIT
"""A twin that says nothing while it boots is reset, once, and its run goes on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twin.running import records_of

from harness.contract.verdict import Verdict
from harness.errors import GuestHang
from harness.guest.bootable import Bootable
from harness.guest.guest_types import GUEST_TYPES, TwinType
from harness.guest.twin import guest as twin
from harness.history import record as r
from harness.history.run_directory import SILENT
from harness.run import silence
from harness.run.options import Timeouts
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform

pytestmark = pytest.mark.qemu

COM1 = 0x3F8
NEVER, ALWAYS = 2.0, -1.0
"""Shares of waiting that no process reaches, and that each does."""


def boots(records: list[r.Record]) -> list[tuple[int, str]]:
    """Return the number and the cause of the first two boots recorded. SeaBIOS resets once more if its POST was interrupted."""
    return [(one.epoch, one.cause) for one in records if isinstance(one, r.Boot)][:2]


def check_reset(result: RunResult) -> None:
    """The history tells of the reset, and what the silent guest was at is kept."""
    records = records_of(result)
    assert boots(records) == [(1, "power-on"), (2, "host-reset")]
    silent = [one.detail for one in records if isinstance(one, r.GuestEvent) and one.event == "silent"]
    assert silent == ["no word for 0.1 s; it is reset once"]
    kept = result.directory / SILENT
    assert ("CPU#1" in kept.read_text(), kept.stat().st_mode & 0o777) == (True, 0o600)


def test_silence_is_ended_by_a_reset(
    request_run: Callable[..., RunRequest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Firmware clears the screen on the console; a kernel that then writes nothing is reset, and the verdict holds.

    Where nothing was written at all it is reset as well: ``tests/soak/test_boots.py``, and the next test.

    OVMF does so always, and SeaBIOS, which takes a tenth of the time, if it is told the console's port (SeaBIOS: docs/Runtime_config.md,
    etc/sercon-port).
    """
    words = twin.Twin._words
    port = tmp_path / "port"
    port.write_bytes(struct.pack("<Q", COM1))

    class Outspoken(TwinType):
        def prepare(self, *arguments: Any) -> Bootable:
            image = super().prepare(*arguments)
            extra = [*image.spec.extra, "-fw_cfg", f"name=etc/sercon-port,file={port}"]
            return msgspec.structs.replace(image, spec=msgspec.structs.replace(image.spec, extra=extra))

    def impatient_once_there_are_words(guest: twin.Twin) -> tuple[int, int]:
        found = words(guest)
        if found[0]:
            monkeypatch.setattr(twin, "LONGEST_SILENCE", 0.1)
        return found

    monkeypatch.setattr(twin.Twin, "_words", impatient_once_there_are_words)
    monkeypatch.setattr(twin, "STARVED", NEVER)
    monkeypatch.setitem(GUEST_TYPES, "outspoken-twin", Outspoken())
    result = perform(request_run("cpu-and-dimm", restore=False, guest="outspoken-twin"))
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    check_reset(result)
    assert "\x1bc" in (result.directory / "console.log").read_text()[:8]


def test_lasting_silence_is_a_hang(
    request_run: Callable[..., RunRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reset is all: where the time to boot is too short for any kernel, the run says that the guest hangs."""
    monkeypatch.setattr(twin, "LONGEST_SILENCE", 0.1)
    # A host that starves QEMU in this moment is named instead (test_silence.py), and this may be one.
    monkeypatch.setattr(silence, "waiting_share", lambda _pid, _seconds: 0.0)
    monkeypatch.setattr(twin, "STARVED", NEVER)
    result = perform(request_run("cpu-and-dimm", restore=False, budget=Timeouts(boot=1.2)))
    assert isinstance(result.error, GuestHang)
    assert result.error.message == "the twin was not ready within 1.2 s: the last stage it reached is 'qemu'"
    check_reset(result)


def test_a_starved_twin_is_not_reset(
    request_run: Callable[..., RunRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is silent for the host's reasons, and gets its time again; a reset would only take from it what it had."""
    monkeypatch.setattr(twin, "LONGEST_SILENCE", 0.1)
    monkeypatch.setattr(twin, "STARVED", ALWAYS)
    monkeypatch.setattr(twin, "SAMPLE", 0.05)
    monkeypatch.setattr(silence, "waiting_share", lambda _pid, _seconds: 0.0)
    # Until then its time is over several times.
    result = perform(request_run("cpu-and-dimm", restore=False, budget=Timeouts(boot=0.8)))
    assert isinstance(result.error, GuestHang)
    records = records_of(result)
    assert boots(records) == [(1, "power-on")]
    assert "silent" not in {one.event for one in records if isinstance(one, r.GuestEvent)}
