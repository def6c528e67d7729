# SPDX-License-Identifier: MIT
"""The guest types ``windows-…`` from a built template to a run: with a template whose disk holds nothing, on a real QEMU."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from guest.windows.conftest import PASSWORD, ScriptedWindows

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.driver.source import driver_folder
from harness.errors import FailureClass, InfrastructureError, UsageError
from harness.guest.bootable import GuestOptions, OutsideSigns
from harness.guest.guest_types import GUEST_TYPES
from harness.guest.windows import guest_type as guest_type_module
from harness.guest.windows.guest_type import WindowsType, adapted, machine_of, told_at_build
from harness.guest.windows.image import WindowsImage
from harness.guest.windows.trace import AT_BOOT
from harness.guest.windows.transports import GuestTransports
from harness.history.reader import History
from harness.history.record import GuestEvent, Stage
from harness.host import qemu_build
from harness.host.firmware import find_ovmf
from harness.host.host_part import PartState
from harness.machine.attachments import RealTimeClock
from harness.machine.disk_image import create
from harness.machine.machine import Machine, MachineSpec
from harness.run import silence
from harness.run.executor import paced
from harness.run.operation import LoadDriver, UnloadDriver
from harness.run.options import Timeouts
from harness.run.plan import Plan
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup import content
from harness.setup.cache import cache_directory
from harness.template import damage
from harness.template.manifest import GuestCredentials, Medium, TemplateManifest, seconds_of
from harness.template.store import DISK, DOCUMENT, MANIFEST, SECRETS, VARIABLES, Store
from harness.template.template import find_template, templates_directory
from harness.transport.pin import CertificatePin

NAME = "windows-server-2025"
GIB = 1 << 30


def manifest(certificate: str, folder: Path) -> TemplateManifest:
    """What the build of such a template would have written."""
    return TemplateManifest(
        template=NAME,
        title="Windows Server 2025",
        support="supported",
        edition="standard-core",
        image="Windows Server 2025 SERVERSTANDARDCORE",
        medium=Medium(name="server.iso", size=1, sha256="00" * 32),
        built="2026-11-01T00:00:00Z",
        harness="0",
        qemu="7.2",
        accelerator="tcg",
        files={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (DISK, VARIABLES)},
        inputs={},
        certificate=certificate,
        facts={"build": "26100.1", "administrator": "Administrator"},
    )


def empty_template(place: Path) -> Path:
    """Make a store with a template in it whose disk is empty. Return where it is."""
    root = place / "templates"
    folder = root / NAME
    folder.mkdir(parents=True)
    create(folder / DISK, 64 << 20, Deadline(30, "make a disk"))
    shutil.copyfile(find_ovmf().variables, folder / VARIABLES)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest("ab" * 32, folder)))
    (folder / SECRETS).write_bytes(
        msgspec.json.encode(GuestCredentials(password=PASSWORD, private_key="", public_key=""))
    )
    shutil.copyfile(templates_directory() / NAME / DOCUMENT, folder / DOCUMENT)
    for file in folder.iterdir():
        file.chmod(0o444)
    return root


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with a template in it whose disk is empty."""
    root = empty_template(tmp_path)
    monkeypatch.setenv("HOTPLUG_HARNESS_TEMPLATES", str(root))
    return Store(root)


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A folder with the files of a driver."""
    folder = tmp_path / "a driver"
    folder.mkdir()
    for name in ("hpnotify.sys", "hpnctl.exe"):
        (folder / name).write_bytes(name.encode())
    return folder


Request = Callable[..., RunRequest]


@pytest.fixture
def request_of(tmp_path: Path, driver: Path) -> Request:
    """Make requests for a run of that guest."""

    def make(*do: object, **more: object) -> RunRequest:
        return RunRequest(
            **{
                "plan": Plan(name="try", do=list(do) or [LoadDriver()], driver=False),  # type: ignore[arg-type]
                "runs": tmp_path / "runs",
                "cache": cache_directory(os.environ),
                "argv": [],
                "guest": NAME,
                "accelerator": "tcg",
                "driver": str(driver),
                **more,
            }
        )

    return make


def test_every_windows_template_is_a_guest_type() -> None:
    """By the names of the folders, without reading one."""
    folders = {document.parent.name for document in templates_directory().glob("windows-*/template.toml")}
    assert folders == {name for name in GUEST_TYPES if name.startswith("windows-")}
    assert folders >= {"windows-server-2019", "windows-server-2022", NAME}


@pytest.mark.qemu
def test_a_template_that_is_not_built_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_of: Request
) -> None:
    """The run ends at once, with what is missing and how to make it."""
    monkeypatch.setenv("HOTPLUG_HARNESS_TEMPLATES", str(tmp_path / "none"))
    error = perform(request_of()).error
    assert isinstance(error, UsageError)
    assert f"the template {NAME} is not built" == error.message
    assert f"Build it: harness template build {NAME} --iso PATH" == error.hint


@pytest.mark.parametrize(
    ("facts", "said"), [({"dynamic-processors": "no"}, 1), ({"dynamic-processors": "yes"}, 0), ({}, 0)]
)
def test_a_refusal_told_at_the_build_is_said(facts: dict[str, str], said: int) -> None:
    """Before the boot; a template whose build did not tell says nothing."""
    assert said == len(told_at_build(NAME, facts))


def test_the_machine_is_the_templates_with_what_the_plan_wants() -> None:
    """Numbers of the plan win; memory is never less than the template's; enlightenments come with KVM alone."""
    template = find_template(NAME)
    wanted = MachineSpec(
        accelerator="tcg",
        qemu=Path("qemu"),
        processors=1,
        max_processors=5,
        memory=GIB,
        max_memory=64 * GIB,
        kd=True,
    )
    spec = machine_of(template, wanted, Path("disk"), Path("variables"))
    assert (1, 5, 4 * GIB, 64 * GIB, 8) == (
        spec.processors, spec.max_processors, spec.memory, spec.max_memory, spec.dimm_slots,
    )  # fmt: skip
    assert ("pc-q35-7.2", True, Path("disk")) == (spec.machine, spec.kd, spec.disks[0].file)
    assert ["-device", "edu,bus=pcie.0,addr=0x18,id=rebalanced"] == spec.extra[-2:]
    assert "hv-" not in spec.cpu
    assert spec == adapted(template, spec)
    kvm = msgspec.structs.replace(spec, accelerator="kvm")
    assert "hv-vapic" in adapted(template, kvm).cpu
    assert adapted(template, kvm, "GenuineIntel").cpu.startswith("Broadwell-noTSX-IBRS,-vmx,hv-")
    assert adapted(template, kvm, "AuthenticAMD").cpu.startswith("EPYC-IBPB,-svm,hv-")
    assert adapted(template, kvm, "") == adapted(template, kvm, "GenuineIntel")
    other = msgspec.structs.replace(spec, accelerator="kvm", cpu="host")
    assert "host" == adapted(template, other).cpu


def test_a_run_may_say_itself_how_long_things_take() -> None:
    """What was changed by hand is not stretched."""
    stretched = paced(Timeouts(operation=31.0), 6.0)
    assert (540.0, 31.0, 30.0, 0.1) == (
        stretched.boot, stretched.operation, stretched.consequence, stretched.quiet,
    )  # fmt: skip
    assert Timeouts() == paced(Timeouts(), 1.0)


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("change", "words"),
    [({"firmware": Path("/bios")}, "boots by the UEFI firmware"), ({}, "no fault can be injected")],
)
def test_wishes_that_cannot_be_granted(
    store: Store, tmp_path: Path, driver: Path, change: dict[str, Path], words: str
) -> None:
    """A firmware of one's own, and mistakes of an emulation that is not there."""
    spec = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program(), **change)  # type: ignore[arg-type]
    options = GuestOptions(
        spec=spec, cache=tmp_path, directory=tmp_path, driver=driver, fault="" if change else "wrong-irql"
    )
    with pytest.raises(UsageError, match=words):
        WindowsType(NAME, store=store).prepare(options, Deadline(30, "prepare"), lambda _: None)


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("real_time", "start", "words"),
    [
        (
            False,
            "2026-10-31T23:01:00Z",
            "its clock begins at 2026-10-31T23:01:00Z, a minute after the template's last",
        ),
        (True, "", "the host's clock, as --real-time says"),
    ],
)
def test_a_run_begins_at_the_template_s_shutdown(
    store: Store, tmp_path: Path, driver: Path, real_time: bool, start: str, words: str
) -> None:
    """However long ago that was, so that the days of an evaluation stand; unless the host's time is asked for."""
    folder = store.root / NAME
    (folder / MANIFEST).chmod(0o644)
    told = {"shutdown": "2026-10-31T23:00:00Z", "evaluation_days": 180}
    changed = msgspec.structs.replace(
        manifest("ab" * 32, folder), **told, facts={"grace-minutes": "14400", "license": "2"}
    )
    (folder / MANIFEST).write_bytes(msgspec.json.encode(changed))
    said: list[str] = []
    options = GuestOptions(
        spec=MachineSpec(accelerator="tcg", qemu=qemu_build.find_program()),
        cache=cache_directory(os.environ), directory=tmp_path, driver=driver, real_time=real_time,
    )  # fmt: skip
    bootable = WindowsType(NAME, store=store).prepare(options, Deadline(300, "prepare"), said.append)
    assert bootable.release is not None
    bootable.release()
    assert RealTimeClock(start=seconds_of(start)) == bootable.spec.clock
    assert [] != [line for line in said if words in line]
    # By the host's clock these ten days are over.
    assert real_time == any("the evaluation of windows-server-2025 ended" in line for line in said)


@pytest.mark.qemu
def test_a_damaged_template_is_not_booted(store: Store, tmp_path: Path, driver: Path) -> None:
    """A disk that is not the one that was built ends the run with the command that builds it anew."""
    disk = store.root / NAME / DISK
    disk.chmod(0o644)
    with disk.open("r+b") as file:
        file.write(b"x")
    spec = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program())
    options = GuestOptions(spec=spec, cache=tmp_path, directory=tmp_path, driver=driver)
    with pytest.raises(InfrastructureError, match=r"is damaged: disk\.qcow2 has SHA-256 ") as caught:
        WindowsType(NAME, store=store).prepare(options, Deadline(30, "prepare"), lambda _: None)
    assert caught.value.hint == f"Build it again: harness template build {NAME} --iso PATH --force"
    (part,) = damage.examine(store, tmp_path)
    assert (part.state, part.supply) == (
        PartState.BROKEN,
        f"harness template build {NAME} --iso PATH --force",
    )
    store.check_unused(NAME)


@pytest.mark.qemu
def test_damage_that_was_read_is_known_to_the_next_run(
    store: Store, tmp_path: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk returns other bytes without a write: once all was read again, the template is not booted any more."""
    monkeypatch.setattr(content, "_name", lambda status: str(status.st_ino))
    assert [part.state for part in damage.examine(store, tmp_path)] == [PartState.OK]
    disk = store.root / NAME / DISK
    disk.chmod(0o644)
    with disk.open("r+b") as file:
        file.write(b"x")
    assert [part.state for part in damage.examine(store, tmp_path)] == [PartState.BROKEN]
    spec = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program())
    options = GuestOptions(spec=spec, cache=tmp_path, directory=tmp_path, driver=driver)
    with pytest.raises(InfrastructureError, match=r"is damaged: disk\.qcow2 has SHA-256 "):
        WindowsType(NAME, store=store).prepare(options, Deadline(30, "prepare"), lambda _: None)


@pytest.mark.qemu
def test_a_guest_that_was_not_prepared_cannot_be_attached_to(tmp_path: Path) -> None:
    """A mistake of the caller, named."""
    options = GuestOptions(
        spec=MachineSpec(accelerator="tcg", qemu=Path("q")), cache=tmp_path, directory=tmp_path
    )
    with pytest.raises(InfrastructureError, match="was not prepared"):
        WindowsType(NAME).attach(None, None, OutsideSigns(), options)  # type: ignore[arg-type]


@pytest.mark.qemu
def test_the_debuggers_line_names_symbols_and_sources(
    request_of: Request, store: Store, driver: Path, tmp_path: Path
) -> None:
    """Where the driver has a PDB, the line that attaches WinDbg leads it there and to the sources."""
    spec = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program())
    options = GuestOptions(spec=spec, cache=cache_directory(os.environ), directory=tmp_path, driver=driver)
    without = WindowsType(NAME, store=store).prepare(options, Deadline(300, "prepare"), lambda _: None)
    assert without.release is not None
    without.release()
    assert without.symbols == ""
    (driver / "hpnotify.pdb").write_bytes(b"symbols")
    result = perform(request_of(kd="debugger", budget=Timeouts(boot=0.1, evidence=0.5)))
    (line,) = (
        one.detail for one in History(result.directory) if isinstance(one, Stage) and "windbg" in one.detail
    )
    _, _, options = line.partition("port=127.0.0.1")
    assert options == f' -y "{driver}" -srcpath "{driver_folder()}"'


@pytest.mark.qemu
def test_a_disk_that_boots_nothing_is_a_hang_in_the_firmware(
    store: Store, request_of: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template's own machine, on real QEMU, with real firmware: stage, picture and evidence; the template unchanged."""
    # A host that starves QEMU in this moment is named instead (test_silence.py), and this may be one.
    monkeypatch.setattr(silence, "waiting_share", lambda _pid, _seconds: 0.0)
    before = {file.name: file.stat().st_mtime_ns for file in (store.root / NAME).iterdir()}
    # Of its time for evidence the guest, which answers nothing, gets a half.
    result = perform(request_of(budget=Timeouts(boot=2.0, evidence=3.0)))
    assert FailureClass.GUEST_HANG is result.failure_class
    assert result.error is not None
    assert "the last stage it reached is 'firmware'" in result.error.message
    assert b"\x89PNG" == (result.directory / "screen-firmware.png").read_bytes()[:4]
    assert "boot" == result.stage
    assert {"disk.qcow2", "variables.qcow2"} <= {file.name for file in result.directory.iterdir()}
    assert before == {file.name: file.stat().st_mtime_ns for file in (store.root / NAME).iterdir()}
    # Nobody holds the template any more.
    store.check_unused(NAME)


@pytest.mark.qemu
@pytest.mark.remote
def test_a_whole_run_ends_with_what_the_guest_hands_over(
    store: Store, request_of: Request, windows: ScriptedWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the overlay to the verdict; only what answers at the guest's ports is ours."""

    def transports(_machine: Machine, image: WindowsImage, _deadline: Deadline) -> GuestTransports:
        assert CertificatePin.parse("ab" * 32) == image.certificate
        return windows.transports()

    monkeypatch.setattr(guest_type_module, "transports_into", transports)
    windows.file(AT_BOOT).parent.mkdir(parents=True)
    windows.file(AT_BOOT).write_bytes(b"no trace")
    windows.change(ring=['{"k":"no record"}'])
    result = perform(request_of(LoadDriver(), UnloadDriver(), budget=Timeouts(quiet=0.01)))
    assert (None, Verdict.UNKNOWN) == (result.error, result.verdict.verdict)
    assert NAME == result.verdict.guest
    stages = [record for record in History(result.directory) if isinstance(record, Stage)]
    (collected,) = [stage.detail for stage in stages if stage.name == "collect" and stage.phase == "end"]
    assert "trace, ring, events, setup" == collected
    assert {"hpnotify.etl", "ring.jsonl", "guest"} <= {file.name for file in result.directory.iterdir()}
    events = [record for record in History(result.directory) if isinstance(record, GuestEvent)]
    told = [record.event for record in events if record.event != "script"]
    assert ("windows", "ready") == (told[0], told[-1])
    assert "preflight" in told
    scripts = [record.detail for record in events if record.event == "script"]
    assert len(scripts) == len(set(scripts))
    assert {
        "ready: answered", "preflight: answered", "once: answered", "driver-load: answered",
        "driver-unload: answered", "export: answered",
    } <= set(scripts)  # fmt: skip
    assert [] == [one for one in scripts if "broke off" in one]
    assert {} == windows.model["services"]
