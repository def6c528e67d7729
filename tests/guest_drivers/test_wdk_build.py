# SPDX-License-Identifier: MIT
"""``harness driver build --wdk``, up to the guest: a real sshd stands for it, and a script for what the WDK would leave.

No test here builds with the WDK; what comes back is the cross-built driver under the stand-in's hands.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from part_markers import needs
from transport.posix import Posix
from transport.servers import SshServer
from twin.running import qemu_processes

from guest_drivers import wdk_standin
from harness.cli import driver as command
from harness.deadline import Deadline
from harness.driver import manifest
from harness.driver.wdk import (
    DESCRIPTORS,
    EXTRAS,
    PACKAGE,
    SECTOR,
    WINDOWS,
    BuildGuest,
    ShellWords,
    build_with_wdk,
    check_medium,
)
from harness.errors import ExitCode, GuestRefused, InfrastructureError, UsageError
from harness.guest.guest_types import GUEST_TYPES
from harness.guest.windows.build_vm import build_vm, with_medium
from harness.machine.attachments import Cdrom
from harness.machine.machine import MachineSpec
from harness.setup.cache import cache_directory
from harness.transport import ssh
from harness.transport.link import WireTransport
from harness.transport.pin import HostKeyPin

pytestmark = pytest.mark.host


@pytest.fixture
@needs("remote")
def guest(tmp_path: Path) -> Iterator[WireTransport]:
    """A transport to an sshd of the test's own."""
    place = tmp_path / "sshd"
    place.mkdir()
    server = SshServer(place)
    link = WireTransport(
        ssh.SshWire(
            "127.0.0.1",
            port=server.port,
            user=getpass.getuser() if os.geteuid() else "root",
            key=server.key,
            host_key=HostKeyPin.parse(server.host_key),
            dialect=Posix(str(tmp_path / "home")),
        )
    )
    yield link
    link.close()
    server.stop()


@pytest.fixture
def words(tmp_path: Path, built: dict[str, Path]) -> Callable[[str], ShellWords]:
    """What the guest's shell is told, by the mode of the stand-in."""
    folder = tmp_path / "guest disk" / "hpnotify-wdk"

    def of(mode: str) -> ShellWords:
        return ShellWords(
            folder=str(folder),
            separator="/",
            prepare=f"rm -rf '{folder}' && mkdir -p '{folder}/src' '{folder}/wdk'",
            build=f"'{sys.executable}' '{wdk_standin.__file__}' '{folder}' '{built['gcc']}' {mode}",
            remove=f"rm -rf '{folder}'",
        )

    return of


def soon() -> Deadline:
    return Deadline(60, "the test")


@pytest.mark.wine
@pytest.mark.remote
def test_everything_comes_back(
    guest: WireTransport, words: Callable[[str], ShellWords], tmp_path: Path
) -> None:
    """Driver, package, symbols and logs, with a manifest that says what they are; the guest keeps nothing."""
    out = tmp_path / "out"
    built = build_with_wdk(guest, out, soon(), medium="EWDK.iso", words=words("whole"))
    names = {product.name for product in (*PACKAGE, *EXTRAS)}
    assert (names, []) == (set(built.manifest.sha256), built.missing)
    assert {*names, "build.log", "hpnotify.json"} == {path.name for path in out.iterdir()}
    assert manifest.load(out / "hpnotify.sys") == built.manifest
    assert ("WDK-built", "wdk: EWDK.iso", "WDK") == (
        built.manifest.label, built.manifest.toolchain, built.manifest.declarations,
    )  # fmt: skip
    assert ("a Compiler Version 19.38 for x64", "a Linker Version 14.38") == (
        built.manifest.compiler, built.manifest.linker,
    )  # fmt: skip
    assert {True} == {check.ok for check in built.checks}
    assert not Path(words("whole").folder).exists()


@pytest.mark.wine
@pytest.mark.remote
def test_logs_may_be_missing(
    guest: WireTransport, words: Callable[[str], ShellWords], tmp_path: Path
) -> None:
    """A WDK without Static Driver Verifier still gives a driver; what is not there is named, nothing old stays."""
    build_with_wdk(guest, tmp_path, soon(), medium="EWDK.iso", words=words("whole"))
    built = build_with_wdk(guest, tmp_path, soon(), medium="EWDK.iso", words=words("bare"))
    assert [product.name for product in EXTRAS] == built.missing
    assert "unknown" == built.manifest.compiler
    assert [] == [name for name in built.missing if (tmp_path / name).exists()]


@pytest.mark.wine
@pytest.mark.remote
def test_what_does_not_build_says_why(
    guest: WireTransport, words: Callable[[str], ShellWords], tmp_path: Path
) -> None:
    """The compiler's words are in the error, the log is here, and the guest keeps nothing."""
    with pytest.raises(GuestRefused, match=r"exit code 1.*error C2061") as caught:
        build_with_wdk(guest, tmp_path, soon(), medium="EWDK.iso", words=words("broken"))
    assert str(tmp_path / "build.log") in caught.value.hint
    assert "log\n" == (tmp_path / "build.log").read_text()
    assert not (tmp_path / "hpnotify.json").exists()
    assert not Path(words("broken").folder).exists()


@pytest.mark.wine
@pytest.mark.remote
def test_a_build_that_leaves_nothing_is_none(
    guest: WireTransport, words: Callable[[str], ShellWords], tmp_path: Path
) -> None:
    """Exit code 0 without a driver is an error, not a build."""
    with pytest.raises(GuestRefused):
        build_with_wdk(guest, tmp_path, soon(), medium="EWDK.iso", words=words("lost"))
    assert not (tmp_path / "hpnotify.json").exists()


@pytest.mark.wine
@pytest.mark.remote
def test_a_guest_that_cannot_make_folders(
    guest: WireTransport, words: Callable[[str], ShellWords], tmp_path: Path
) -> None:
    """The first command that fails ends it, with the guest's words."""
    told = words("whole")._replace(prepare="echo disk full >&2; exit 3")
    with pytest.raises(GuestRefused, match=r"make a folder .*exit code 3.*\s+disk full"):
        build_with_wdk(guest, tmp_path, soon(), medium="EWDK.iso", words=told)


@pytest.mark.wine
@pytest.mark.remote
def test_a_folder_that_cannot_be_made(
    guest: WireTransport, words: Callable[[str], ShellWords], tmp_path: Path
) -> None:
    """Nothing is asked of the guest if there is no place for what comes back."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot write"):
        build_with_wdk(guest, tmp_path / "file" / "out", soon(), medium="EWDK.iso", words=words("whole"))


def test_the_guest_s_words_name_one_folder() -> None:
    """What is removed in Windows is the folder that was made, and the script is where the sources are put."""
    assert WINDOWS.path("wdk", "build.cmd") == WINDOWS.build.split()[0]
    for text in (WINDOWS.prepare, WINDOWS.remove):
        assert {WINDOWS.folder} == {
            word[: len(WINDOWS.folder)] for word in text.replace(")", "").split() if word[:3] == "C:\\"
        }


def medium(path: Path, volume: bytes = b"CD001") -> Path:
    """Write what begins as a medium does."""
    path.write_bytes(bytes(DESCRIPTORS * SECTOR) + b"\1" + volume + bytes(SECTOR))
    return path


@pytest.mark.parametrize("volume", [b"CD001", b"BEA01"])
def test_media_are_taken(tmp_path: Path, volume: bytes) -> None:
    """ISO 9660 and UDF."""
    check_medium(medium(tmp_path / "EWDK.iso", volume))


@pytest.mark.wine
@pytest.mark.remote
def test_a_guest_with_a_build_vm_builds(
    guest: WireTransport, words: Callable[[str], ShellWords], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The command gives the guest the medium, takes what it makes, checks it and says what it is."""
    given: list[Path] = []

    class Standing:
        @contextmanager
        def build_vm(
            self, medium: Path, cache: Path, deadline: Deadline, progress: Callable[[str], None]
        ) -> Iterator[BuildGuest]:
            given.append(medium)
            yield guest

    monkeypatch.setitem(GUEST_TYPES, "windows-of-the-test", Standing())  # type: ignore[arg-type]
    monkeypatch.setattr("harness.driver.wdk.build_with_wdk.__kwdefaults__", {"words": words("whole")})
    iso = medium(tmp_path / "EWDK.iso")
    ended = command.build(tmp_path / "out", wdk=True, guest="windows-of-the-test", ewdk=iso)
    said = capsys.readouterr().out
    assert (ExitCode.HOLDS, [iso]) == (ended, given)
    assert "WDK-built" in said.splitlines()[-1]
    assert "WRONG" not in said


@pytest.mark.parametrize(
    ("guest", "name", "complaint"),
    [
        ("", "EWDK.iso", "--wdk needs a Windows guest and the medium"),
        ("twin", "", "--wdk needs a Windows guest and the medium"),
        ("twin", "absent.iso", "cannot read .*absent.iso"),
        ("twin", "text.iso", "text.iso is not laid out as an ISO"),
        ("twin", "EWDK.iso", "the WDK does not run in the guest 'twin'"),
        ("windows-95", "EWDK.iso", "no guest is called 'windows-95'"),
        ("windows-server-2022", "EWDK.iso", "(?s)windows-server-2022.*built"),
    ],
)
def test_mistakes_have_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guest: str, name: str, complaint: str
) -> None:
    """What was left out, is none, or was never built, is named; nothing is started."""
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOTPLUG_HARNESS_TEMPLATES", str(tmp_path / "templates"))
    medium(tmp_path / "EWDK.iso")
    (tmp_path / "text.iso").write_text("no medium")
    with pytest.raises(UsageError, match=complaint):
        command.build(tmp_path / "out", wdk=True, guest=guest, ewdk=tmp_path / name if name else None)
    assert not (tmp_path / "out").exists()
    assert [] == list((tmp_path / "cache").glob("build-vm-*"))


def test_the_medium_has_a_drive_of_its_own(tmp_path: Path) -> None:
    """It is the last, so that nothing boots from it, and the template's own media stay where they are."""
    spec = MachineSpec(accelerator="tcg", qemu=Path("qemu"), cdroms=(Cdrom(file=None, port=1),))
    iso = medium(tmp_path / "EWDK.iso")
    assert (*spec.cdroms, Cdrom(file=iso, port=5)) == with_medium(spec, iso).cdroms


def test_words_of_the_wdk_need_it(tmp_path: Path) -> None:
    """A guest without --wdk is a mistake, not a cross build."""
    with pytest.raises(UsageError, match="go with --wdk"):
        command.build(tmp_path, guest="twin")


@pytest.mark.qemu
def test_only_windows_is_a_build_vm(tmp_path: Path) -> None:
    """A machine with the medium starts; a guest that turns out not to be Windows is ended, and nothing of it stays."""
    cache = cache_directory(os.environ)
    before = set(cache.glob("build-vm-*"))
    iso = medium(tmp_path / "EWDK.iso")
    with (
        pytest.raises(InfrastructureError, match="is not Windows"),
        build_vm(GUEST_TYPES["twin"], iso, cache, soon(), lambda text: None),
    ):
        pass
    assert before == set(cache.glob("build-vm-*"))
    assert [] == qemu_processes(iso)
