# SPDX-License-Identifier: MIT
"""A Windows guest from its boot to its end, with a scripted Windows as its server and a real QEMU as its machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from guest.windows.conftest import MakeGuest, ScriptedWindows, panicked
from part_markers import needs
from transport.conftest import ssh_to
from transport.servers import SshServer, make_key
from transport.wsman_double import Handler, make_certificate

from harness.deadline import Deadline
from harness.errors import GuestCrash, GuestHang, GuestRefused, InfrastructureError, UsageError
from harness.guest.guest import GuestCounts
from harness.guest.windows.boot_options import BootOptions
from harness.guest.windows.driver_files import DriverFiles
from harness.guest.windows.guest import WindowsGuest
from harness.guest.windows.readiness import BootStage
from harness.guest.windows.shell import TOOL
from harness.history.record import BOOT_OPTION, GuestEvent, Record
from harness.history.writer import HistoryWriter
from harness.machine.ospm import listening
from harness.machine.qemu.machine import QemuMachine

pytestmark = [pytest.mark.remote, pytest.mark.qemu]


@pytest.fixture
@needs("remote")
def sshd(tmp_path: Path) -> Iterator[SshServer]:
    """A real SSH server."""
    server = SshServer(tmp_path)
    yield server
    with contextlib.suppress(OSError):
        server.stop()


def monitor(machine: QemuMachine, *lines: str) -> None:
    """Say something to QEMU's human monitor."""
    for line in lines:
        machine.execute("human-monitor-command", Deadline(10, line), **{"command-line": line})


def be_an_operating_system(machine: QemuMachine) -> None:
    """Do what firmware and an operating system do: place the power management block, enable both events."""
    monitor(
        machine,
        "o /w 0xcf8 0x8000f840", "o /w 0xcfc 0x601", "o /w 0xcf8 0x8000f844", "o /b 0xcfc 0x80", "o /b 0x628 0x0c",
    )  # fmt: skip


def test_a_guest_that_answers_is_ready(
    guest: WindowsGuest, windows: ScriptedWindows, within: Deadline
) -> None:
    """Its tool is in place, and it counts what the tool says: all groups, and physical memory."""
    assert (1, BootStage.READY) == (guest.ready_count, guest.stage)
    assert b"hpnctl.exe" * 100 == windows.file(TOOL).read_bytes()
    assert GuestCounts(processors=2, memory=4 << 30) == guest.counts(within)
    guest.prove_alive("abc123", within)


def test_who_listens_to_acpi_is_asked_of_the_machine(machine: QemuMachine, within: Deadline) -> None:
    """Nobody before the firmware has run, and nobody until both events are enabled."""
    assert not listening(machine, within)
    be_an_operating_system(machine)
    assert listening(machine, within)
    monitor(machine, "o /b 0x628 0x04")
    assert not listening(machine, within)


def test_a_boot_that_stops_in_the_firmware_says_so(
    make_guest: MakeGuest, windows: ScriptedWindows, tmp_path: Path
) -> None:
    """The timeout names the stage, and a picture of the screen is there."""
    windows.double.stop()
    with pytest.raises(GuestHang, match="the last stage it reached is 'firmware'") as caught:
        make_guest().wait_ready(Deadline(1.5, "boot"))
    picture = tmp_path / "run" / "screen-firmware.png"
    assert b"\x89PNG" == picture.read_bytes()[:4]
    assert str(picture) in caught.value.hint


def test_a_boot_that_stops_before_winrm_says_so(
    make_guest: MakeGuest, machine: QemuMachine, windows: ScriptedWindows
) -> None:
    """An operating system is there, and nobody answers."""
    be_an_operating_system(machine)
    windows.double.stop()
    with pytest.raises(
        GuestHang, match=r"'acpi' \(an operating system listens to ACPI, and WinRM does not answer\)"
    ):
        make_guest().wait_ready(Deadline(1.5, "boot"))


def test_a_service_that_is_still_starting_is_waited_for(
    make_guest: MakeGuest, windows: ScriptedWindows, within: Deadline
) -> None:
    """The first answers are refusals; the guest is ready once they end."""
    refusals = iter([503, 500])

    def refuse(handler: Handler) -> None:
        code = next(refusals, None)
        if code is not None:
            windows.double.hooks["Create"] = refuse
            handler.reply(code, b"")

    windows.double.hooks["Create"] = refuse
    guest = make_guest()
    guest.wait_ready(within)
    assert 1 == guest.ready_count


def test_another_machine_in_the_guests_place_ends_the_boot_at_once(
    make_guest: MakeGuest, windows: ScriptedWindows, tmp_path: Path, within: Deadline
) -> None:
    """A wrong certificate is no reason to wait: it will not become the right one."""
    _, other = make_certificate(tmp_path, "other")
    with pytest.raises(InfrastructureError, match="the certificate is not the pinned one"):
        make_guest(transports=windows.transports(pin=other)).wait_ready(within)
    assert within.remaining() > 60


def test_a_wrong_password_is_named_when_time_is_over(make_guest: MakeGuest, windows: ScriptedWindows) -> None:
    """And not shown."""
    with pytest.raises(GuestHang, match="the guest refuses the user or the password") as caught:
        make_guest(transports=windows.transports(password="wrong-horse")).wait_ready(Deadline(3, "boot"))
    assert "horse" not in str(caught.value)


def test_a_guest_that_powers_itself_off_is_not_waited_for(
    make_guest: MakeGuest, windows: ScriptedWindows, machine: QemuMachine, within: Deadline
) -> None:
    """As an evaluation does that has expired."""
    windows.double.stop()
    guest = make_guest()
    # ICH9: sleep type 0 with sleep enable in PM1_CNT is the power-off of QEMU's board.
    be_an_operating_system(machine)
    monitor(machine, "o /h 0x604 0x2000")
    with pytest.raises(GuestCrash, match="shut itself down while it was expected to boot"):
        guest.wait_ready(within)


def test_the_group_size_is_set_before_the_first_plan(
    make_guest: MakeGuest, writer: HistoryWriter, windows: ScriptedWindows, within: Deadline
) -> None:
    """With a restart of its own, after which the guest is ready for the first time.

    A driver that starts at boot speaks before Windows answers, so the option is told before the restart.
    """
    guest = make_guest(boot=BootOptions(group_size=2))
    told: list[tuple[str, int]] = []

    def hear(record: Record) -> None:
        if isinstance(record, GuestEvent) and record.event == "boot-option":
            told.append((record.detail, windows.model["boots"]))

    writer.subscribe(hear)
    guest.wait_ready(within)
    assert ["/set {current} groupsize 2", "/set {current} groupaware on"] == windows.model["bcd"]
    assert (1, 2) == (guest.ready_count, windows.model["boots"])
    assert [("groupsize 2", 1)] == told


def test_groups_of_an_image_that_was_built_elsewhere_are_told(
    guest: WindowsGuest, windows: ScriptedWindows, writer: HistoryWriter, within: Deadline
) -> None:
    """Once, however often it is checked: the contract does not take small groups for a violation then."""
    options = boot_options(writer)
    facts = {
        **windows.model["facts"],
        "start_options": " TESTSIGNING  GROUPSIZE=2  MAXGROUP  NOEXECUTE=OPTOUT",
    }
    windows.change(facts=facts)
    for _ in range(2):
        guest.preflight(within)
    assert ["groupsize=2 maxgroup"] == options


def test_groups_that_the_run_set_are_told_once(
    make_guest: MakeGuest, windows: ScriptedWindows, writer: HistoryWriter, within: Deadline
) -> None:
    """What Windows says that it started with is what was set."""
    options = boot_options(writer)
    guest = make_guest(boot=BootOptions(group_size=2))
    guest.wait_ready(within)
    windows.change(facts={**windows.model["facts"], "start_options": " GROUPSIZE=2"})
    guest.preflight(within)
    assert ["groupsize 2"] == options


def boot_options(writer: HistoryWriter) -> list[str]:
    """Return a list to which each boot option that is told from now on is added."""
    told: list[str] = []

    def hear(record: Record) -> None:
        if isinstance(record, GuestEvent) and record.event == BOOT_OPTION:
            told.append(record.detail)

    writer.subscribe(hear)
    return told


def test_a_reset_is_followed_by_another_boot(
    guest: WindowsGuest, windows: ScriptedWindows, machine: QemuMachine, within: Deadline
) -> None:
    """The executor's way: reset, then wait until the guest was ready twice; no service of before runs any more."""
    guest.load_driver(within)
    machine.reset(within)
    windows.change(services={})
    guest.wait_ready(within, boots=2)
    assert 2 == guest.ready_count
    guest.load_driver(within)
    assert ["hpnotify"] == guest.service.loaded


def test_the_driver_is_loaded_and_taken_away(
    guest: WindowsGuest, windows: ScriptedWindows, within: Deadline
) -> None:
    """Its file is there under the service's name, its certificate trusted, its parameters set; then nothing is left."""
    guest.load_driver(within, add_existing=False)
    service = windows.model["services"]["hpnotify"]
    assert ("Running", {"AddExisting": 0, "DebugPort": 0x504}) == (service["state"], service["parameters"])
    assert b"hpnotify.sys" * 100 == windows.file(service["path"]).read_bytes()
    assert 1 == len(windows.model["trusted"])
    guest.mark("nonce1", within)
    guest.veto_next(within, status=0xC0000001)
    assert ["--device", "hpnotify", "veto", "--status", "0xc0000001"] == windows.calls("hpnctl")[-1]
    guest.unload_driver(within)
    assert {} == windows.model["services"]
    with pytest.raises(GuestRefused, match="hpnotify is not loaded"):
        guest.mark("nonce2", within)


def test_two_drivers_have_two_files_and_one_port(
    guest: WindowsGuest, windows: ScriptedWindows, within: Deadline
) -> None:
    """Windows loads a file once, and two drivers that write to one port mix their lines."""
    guest.load_driver(within)
    guest.load_driver(within, driver="hpnother")
    first, second = windows.model["services"]["hpnotify"], windows.model["services"]["hpnother"]
    assert first["path"] != second["path"]
    assert (0x504, 0) == (first["parameters"]["DebugPort"], second["parameters"]["DebugPort"])
    with pytest.raises(GuestRefused, match="hpnother is loaded already"):
        guest.load_driver(within, driver="hpnother")


REFUSALS = [
    (
        {"step": "start", "code": 577, "said": "FAILED 577", "state": "Stopped"},
        r"hpnotify: start: exit code 577 \(Windows cannot verify the signature",
    ),
    ({"step": "create", "code": 1073, "said": "x", "state": "Running"}, r"1073 \(the service exists"),
    ({"step": "start", "code": 0, "said": "", "state": "Stopped"}, "was started and is 'Stopped'"),
    ({"step": "start", "code": 31, "said": "", "state": ""}, "exit code 31: no output"),
    ({"failed": "Access is denied"}, "script driver-load: Access is denied"),
    ({"step": 3}, "the guest's answer makes no sense"),
    ([], "the guest's answer makes no sense"),
]


def test_a_driver_that_does_not_load_is_told_in_windows_words(
    guest: WindowsGuest, windows: ScriptedWindows, within: Deadline
) -> None:
    """The step, the code, what it means, and what was said; an answer of another kind is refused."""
    for answer, words in REFUSALS:
        windows.change(answers={"driver-load": answer})
        with pytest.raises(GuestRefused, match=words):
            guest.load_driver(within)


def test_a_connection_that_breaks_in_a_change_does_it_once(
    guest: WindowsGuest, windows: ScriptedWindows, within: Deadline
) -> None:
    """As network and processors are rebalanced: nobody knows whether the command ran, it is sent again, and ran once."""
    breaks = {"left": 2}

    def cut(handler: Handler) -> None:
        if windows.model["services"] and breaks["left"]:
            breaks["left"] -= 1
            windows.double.restart()
        windows.double.hooks["Receive"] = cut

    windows.double.hooks["Receive"] = cut
    guest.load_driver(within)
    assert 1 == len(windows.calls("driver-load"))
    assert 0 == breaks["left"]


def test_the_plug_and_play_variant_needs_its_package(
    guest: WindowsGuest, within: Deadline, windows: ScriptedWindows
) -> None:
    """Without an INF file and its catalog there is none, and the way to one is named."""
    with pytest.raises(GuestRefused, match="holds no driver package") as caught:
        guest.load_driver(within, pnp=True)
    assert "driver sign" in caught.value.hint


def test_the_plug_and_play_variant_is_installed_and_removed(
    make_guest: MakeGuest, windows: ScriptedWindows, files: DriverFiles, within: Deadline
) -> None:
    """By pnputil, on the device that the machine has for it; its service is the one of the INF file."""
    folder = files.driver.parent
    for name in ("hpnotify.inf", "hpnotify.cat"):
        (folder / name).write_text(name)
    guest = make_guest(files=msgspec.structs.replace(files, package=folder))
    guest.wait_ready(within)
    guest.load_driver(within, pnp=True)
    (installed,) = windows.calls("pnp-install")
    place = windows.file(installed["Inf"]).parent
    assert {"hpnotify.sys", "hpnotify.inf", "hpnotify.cat"} == {file.name for file in place.iterdir()}
    guest.mark("nonce1", within)
    assert ["--device", "hpnotifypnp", "mark", "nonce1"] == windows.calls("hpnctl")[-1]
    guest.unload_driver(within)
    assert [{"Inf": "hpnotify.inf", "Service": "hpnotifypnp"}] == windows.calls("pnp-remove")


def test_devices_that_opted_out_of_rebalances_are_told_of(
    make_guest: MakeGuest,
    windows: ScriptedWindows,
    files: DriverFiles,
    within: Deadline,
    writer: HistoryWriter,
) -> None:
    """A device with the policy 1 gives an event; without one, a plan that counts on it is refused."""
    folder = files.driver.parent
    for name in ("hpnotify.inf", "hpnotify.cat"):
        (folder / name).write_text(name)
    guest = make_guest(files=msgspec.structs.replace(files, package=folder))
    guest.wait_ready(within)
    records: list[Record] = []
    writer.subscribe(records.append)
    devices = [{"device": f"PCI\\DEV_{policy}\\3&1", "problem": 0, "policy": policy} for policy in (0, 1, 2)]
    windows.change(answers={"pnp-install": {"code": 0, "said": "", "devices": devices}})
    guest.load_driver(within, pnp=True, opt_out=True)
    assert ["PCI\\DEV_1: DEVPKEY_Device_DHP_Rebalance_Policy=1"] == [
        record.detail
        for record in records
        if isinstance(record, GuestEvent) and record.event == "rebalance-opt-out"
    ]
    windows.change(answers={"pnp-install": {"code": 0, "said": "", "devices": devices[::2]}})
    with pytest.raises(GuestRefused, match="no device of the driver other has DEVPKEY_Device_DHP"):
        guest.load_driver(within, pnp=True, opt_out=True, driver="other")


PACKAGES = [
    ({"code": 259, "said": "no devices", "devices": []}, "no device works with it: none takes it"),
    (
        {"code": 0, "said": "", "devices": [{"device": "PCI", "problem": 52}]},
        "no device works with it: PCI with problem 52",
    ),
    (
        {"code": 5, "said": "denied", "devices": []},
        r"was not installed: exit code 5 \(access was denied\): denied",
    ),
]


def test_a_package_that_no_device_takes_is_refused(
    make_guest: MakeGuest, windows: ScriptedWindows, files: DriverFiles, within: Deadline
) -> None:
    """That pnputil ended well says nothing; a device that works does."""
    folder = files.driver.parent
    for name in ("hpnotify.inf", "hpnotify.cat"):
        (folder / name).write_text(name)
    guest = make_guest(files=msgspec.structs.replace(files, package=folder))
    guest.wait_ready(within)
    for answer, words in PACKAGES:
        windows.change(answers={"pnp-install": answer})
        with pytest.raises(GuestRefused, match=words):
            guest.load_driver(within, pnp=True)


def test_the_driver_refuses_from_its_first_registration_on(
    guest: WindowsGuest, windows: ScriptedWindows, within: Deadline
) -> None:
    """Which Start it refuses is a value of its Parameters key; later it is asked by ``hpnctl veto``."""
    guest.load_driver(within, veto=2)
    assert 2 == windows.model["services"]["hpnotify"]["parameters"]["Veto"]
    guest.veto_next(within, status=0xC0000017, nth=3)
    assert ["--device", "hpnotify", "veto", "--nth", "3", "--status", "0xc0000017"] == windows.calls(
        "hpnctl"
    )[-1]


@pytest.mark.parametrize("verb", ["hang", "format"])
def test_what_it_cannot_do_is_refused(guest: WindowsGuest, within: Deadline, verb: str) -> None:
    """Only an NMI can be given from outside."""
    with pytest.raises(GuestRefused, match=f"cannot be made to {verb}"):
        guest.provoke(verb, within)


def test_words_that_are_no_nonces_never_leave(guest: WindowsGuest, within: Deadline) -> None:
    """They would be part of a command line."""
    for nonce in ("", "a b", "a&b", "x" * 33, "é"):
        with pytest.raises(UsageError):
            guest.mark(nonce, within)


def test_verifier_restarts_the_guest(guest: WindowsGuest, windows: ScriptedWindows, within: Deadline) -> None:
    """It counts from the next boot on, so there is one."""
    guest.verifier(within)
    assert ["/standard", "/driver", "hpnotify.sys"] == windows.model["verifier"]
    guest.verifier(within, drivers=())
    assert ["/reset"] == windows.model["verifier"]
    assert (3, 3) == (guest.ready_count, windows.model["boots"])


def test_a_guest_that_panics_while_it_boots_is_not_waited_for(
    make_guest: MakeGuest, windows: ScriptedWindows, machine: QemuMachine, within: Deadline
) -> None:
    """QEMU tells of it, if the guest has a driver for its panic device."""
    windows.double.stop()
    guest = make_guest()
    monitor(machine, "o /b 0x505 1")
    with pytest.raises(GuestCrash, match="crashed while it booted; last stage reached 'firmware'"):
        guest.wait_ready(within)


def test_a_bug_check_while_it_boots_has_its_code(
    make_guest: MakeGuest, windows: ScriptedWindows, machine: QemuMachine, within: Deadline
) -> None:
    """Windows tells Hyper-V's crash registers of it, with no driver; the message is as QEMU's schema has it."""
    windows.double.stop()
    guest = make_guest()
    machine._log.passed("in", panicked(0x3E, 1, 2, 3, 4), 0)
    words = r"bug check 0x3e MULTIPROCESSOR_CONFIGURATION_NOT_SUPPORTED \(0x1, 0x2, 0x3, 0x4\)"
    with pytest.raises(GuestCrash, match=f"last stage reached 'firmware': {words}") as caught:
        guest.wait_ready(within)
    assert "WD: debugger/bug-check-code-reference2.md" == caught.value.hint


def test_ssh_is_a_stage_of_its_own(
    make_guest: MakeGuest, windows: ScriptedWindows, sshd: SshServer, within: Deadline
) -> None:
    """A guest whose manifest has a host key is ready only when that answers, too."""
    guest = make_guest(transports=windows.transports(ssh=ssh_to(sshd)), files=None)
    guest.wait_ready(within)
    assert 1 == guest.ready_count
    assert 1 <= sshd.connections


def test_another_host_key_ends_the_boot_at_once(
    make_guest: MakeGuest, windows: ScriptedWindows, sshd: SshServer, tmp_path: Path, within: Deadline
) -> None:
    """As another certificate does."""
    other = make_key(tmp_path / "other")
    with pytest.raises(InfrastructureError, match="not the pinned one"):
        make_guest(transports=windows.transports(ssh=ssh_to(sshd, host_key=other)), files=None).wait_ready(
            within
        )
    assert within.remaining() > 60


def test_ssh_that_never_answers_is_named(
    make_guest: MakeGuest, windows: ScriptedWindows, sshd: SshServer
) -> None:
    """WinRM had been reached."""
    sshd.stop()
    with pytest.raises(GuestHang, match=r"'winrm' \(WinRM answers, and SSH does not\)"):
        make_guest(transports=windows.transports(ssh=ssh_to(sshd)), files=None).wait_ready(
            Deadline(4, "boot")
        )
