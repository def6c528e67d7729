# SPDX-License-Identifier: MIT
"""The control tool without a driver: what it needs, what it says, the codes it ends with. test_in_wine.py has one."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pefile
import pytest
from guest_drivers.wine_prefix import Wine

from harness.driver.build import TOOLCHAINS
from harness.guest.windows.answer import MachineView, TraceAccount, decode
from harness.history.record import GuestEvent

pytestmark = pytest.mark.wine

SYSTEM_LIBRARIES = {b"KERNEL32.dll", b"USER32.dll", b"ADVAPI32.dll", b"SHELL32.dll"}


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_it_needs_only_what_every_windows_has(built: dict[str, Path], toolchain: str) -> None:
    """The tool imports from the system's own libraries and from no C library."""
    image = pefile.PE(str(built[toolchain].with_name("hpnctl.exe")))
    assert set() == {library.dll for library in image.DIRECTORY_ENTRY_IMPORT} - SYSTEM_LIBRARIES
    assert 3 == image.OPTIONAL_HEADER.Subsystem


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--help", 0, "hpnctl [--device NAME] COMMAND"),
        ("events --help", 0, "Exit codes: 0 done"),
        ("", 64, "say what to do"),
        ("frob", 64, "no such command: frob"),
        ("status extra", 64, "one word too many: extra"),
        ("stat --json", 64, "no such option of this command: --json"),
        ("veto --nth x", 64, "it takes a number: --nth"),
        ("veto --nth 4294967296", 64, "it takes a number: --nth"),
        ("veto --status 0x1FFFFFFFF", 64, "it takes a number: --status"),
        ("events --seconds", 64, "it takes a number: --seconds"),
        ("mark", 64, "it takes an argument: mark"),
        ("work 100001", 64, "too large a one: 100001"),
        ("machine all", 64, "one word too many: all"),
        ("trace", 64, "it takes an argument: trace"),
        ("trace session --follow", 64, "no such option of this command: --follow"),
        ("status", 69, "cannot open the device of hpnotify: "),
        ("--device other events --json", 69, "cannot open the device of other: "),
    ],
)
def test_words_and_exit_codes(built: dict[str, Path], wine: Wine, words: str, code: int, said: str) -> None:
    """Help goes to standard output and ends with 0; wrong usage ends with 64, a missing driver with 69."""
    done = wine.run(built["gcc"].with_name("hpnctl.exe"), *words.split())
    assert code == done.returncode
    assert said in (done.stdout if code == 0 else done.stderr)


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_the_machine_from_inside(built: dict[str, Path], wine: Wine, toolchain: str) -> None:
    """Without a driver: what is counted, by group and in all, and what CPUID says, which Wine leaves to the processor."""
    done = wine.run(built[toolchain].with_name("hpnctl.exe"), "machine")
    assert 0 == done.returncode, done.stderr
    seen = decode(done.stdout, MachineView, what="hpnctl machine")
    assert seen.processors == sum(group.active for group in seen.groups)
    assert seen.maximum == sum(group.maximum for group in seen.groups)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert pytest.approx(memory, rel=0.1) == seen.memory
    flags = Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split()
    assert ("hypervisor" in flags) == bool(seen.hypervisor)
    assert "" == seen.srat


def test_a_trace_session_tells_what_it_lost(built: dict[str, Path], wine: Wine) -> None:
    """Wine has no sessions and says so of none; the answer has the form that is read."""
    for words in (("trace", "any"), ("trace", "any", "--flush"), ("trace", "any", "--stop")):
        done = wine.run(built["clang"].with_name("hpnctl.exe"), *words)
        assert 0 == done.returncode, done.stderr
        assert TraceAccount(events_lost=0, buffers_lost=0, buffers_written=0, buffers=0) == decode(
            done.stdout, TraceAccount, what="hpnctl trace"
        )


def test_watching_without_events(built: dict[str, Path], wine: Wine) -> None:
    """watch says where its clock and the counts stand, and ends when its time is over."""
    done = wine.run(built["clang"].with_name("hpnctl.exe"), "watch", "--json", "--seconds", "1")
    assert 0 == done.returncode
    (event,) = (msgspec.json.decode(line, type=GuestEvent) for line in done.stdout.splitlines())
    fields = dict(pair.split("=") for pair in event.detail.split(" "))
    assert "app.watching" == event.event
    assert ["qpc", "boot", "active", "memory"] == list(fields)
    assert int(fields["active"]) > 0
