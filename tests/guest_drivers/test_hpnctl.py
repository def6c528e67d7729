# SPDX-License-Identifier: MIT
"""The control tool without a driver: what it needs, what it says, the codes it ends with. test_in_wine.py has one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import pefile
import pytest
from guest_drivers.wine_prefix import Wine

from harness.driver.build import TOOLCHAINS
from harness.guest.windows.answer import DYNAMIC_PROCESSORS, MachineView, TraceAccount, decode
from harness.history.record import GuestEvent

pytestmark = pytest.mark.wine

SINCE_1601 = 11_644_473_600
"""Seconds from 1601 to 1970."""

DDK = (Path("/usr/share/mingw-w64/include/ddk"), Path("/usr/x86_64-w64-mingw32/include/ddk"))

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
    assert seen.utc is not None
    assert pytest.approx(time.time(), abs=120) == seen.utc / 1e7 - SINCE_1601
    # Wine's page of shared data is there, and has no such flags.
    assert (0, False) == (seen.flags, seen.takes_processors)
    assert {
        "Kernel-DynamicPartitioningSupported",
        "Kernel-VirtualDynamicPartitioningSupported",
        "Kernel-PhysicalMemoryAddAllowed",
        "Kernel-VmPhysicalMemoryAddAllowed",
    } == set(seen.licence)


def test_the_licence_s_values(built: dict[str, Path], wine: Wine) -> None:
    """What the licence allows is told by name; a value that it lacks, or of another type, is null and no 0."""
    key = "HKLM\\Software\\Wine\\LicenseInformation"
    for name, kind, value in (
        ("Kernel-VirtualDynamicPartitioningSupported", "REG_DWORD", "1"),
        ("Kernel-DynamicPartitioningSupported", "REG_DWORD", "0"),
        ("Kernel-PhysicalMemoryAddAllowed", "REG_SZ", "yes"),
    ):
        done = wine.run("reg.exe", "add", key, "/v", name, "/t", kind, "/d", value, "/f")
        assert 0 == done.returncode, done.stderr
    try:
        done = wine.run(built["gcc"].with_name("hpnctl.exe"), "machine")
    finally:
        wine.run("reg.exe", "delete", key, "/f")
    assert {
        "Kernel-DynamicPartitioningSupported": 0,
        "Kernel-VirtualDynamicPartitioningSupported": 1,
        "Kernel-PhysicalMemoryAddAllowed": None,
        "Kernel-VmPhysicalMemoryAddAllowed": None,
    } == decode(done.stdout, MachineView, what="hpnctl machine").licence


def test_where_the_flags_are(tmp_path: Path) -> None:
    """The header of another maker puts the flags, and the bit, where hpnctl reads them."""
    compiler = shutil.which("x86_64-w64-mingw32-gcc")
    assert compiler is not None
    source = tmp_path / "places.c"
    source.write_text(
        "#include <ntddk.h>\n"
        '_Static_assert(FIELD_OFFSET(KUSER_SHARED_DATA, SharedDataFlags) == 0x2F0, "place");\n'
        f'_Static_assert(SHARED_GLOBAL_FLAGS_DYNAMIC_PROC_ENABLED == {DYNAMIC_PROCESSORS}, "bit");\n'
    )
    folder = next(each for each in DDK if (each / "ntddk.h").is_file())
    done = subprocess.run(
        [compiler, "-fsyntax-only", f"-I{folder}", str(source)], capture_output=True, text=True, timeout=60
    )
    assert "" == done.stderr


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
