# SPDX-License-Identifier: MIT
"""A scripted Windows behind the WS-Management double, and a real QEMU, paused, that stands for its machine."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guest.windows import scripted_windows
from part_markers import needs
from transport.wsman_double import Double

from harness.deadline import Deadline
from harness.guest.windows.driver_files import DriverFiles
from harness.guest.windows.guest import WindowsGuest
from harness.guest.windows.image import WindowsImage
from harness.guest.windows.shell import TOOL
from harness.guest.windows.transports import GuestTransports
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.template.template import find_template
from harness.transport import winrm
from harness.transport.link import WireTransport
from harness.transport.pin import CertificatePin
from harness.transport.secret import Secret

USER = "Administrator"
PASSWORD = "correct-horse!7"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves anything in the user's own registry."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def within() -> Deadline:
    """Time enough for anything that works."""
    return Deadline(90, "the test")


class ScriptedWindows:
    """A scripted Windows: its server, its disk, and the model of what was done to it."""

    def __init__(self, double: Double, disk: Path) -> None:
        self.double = double
        self.disk = disk

    @property
    def model(self) -> dict[str, Any]:
        """What was done so far."""
        file = self.disk / "windows.json"
        return {**scripted_windows.FRESH, **(json.loads(file.read_text()) if file.exists() else {})}

    def change(self, **values: Any) -> None:
        """Have it be otherwise from now on."""
        (self.disk / "windows.json").write_text(json.dumps({**self.model, **values}))

    def calls(self, name: str) -> list[Any]:
        """The values of each call of a script or program."""
        return [values for called, values in self.model["calls"] if called == name]

    def file(self, path: str) -> Path:
        """Where a path of the guest lies here."""
        return self.disk / path.replace("\\", "/")

    def transports(
        self, *, pin: bytes = b"", password: str = PASSWORD, ssh: WireTransport | None = None
    ) -> GuestTransports:
        """The transports, as they are for a guest whose certificate is this server's."""
        link = WireTransport(
            winrm.WinrmWire(
                "127.0.0.1",
                port=self.double.port,
                user=USER,
                password=Secret(password),
                certificate=CertificatePin.of(pin or self.double.certificate),
                operation_timeout=1,
            )
        )
        return GuestTransports(commands=link, ssh=ssh)


@contextlib.contextmanager
def scripted(place: Path) -> Iterator[ScriptedWindows]:
    """A scripted Windows, up and answering, with its files in ``place``. The environment must lead to them (:func:`leading`)."""
    (place / "users").write_text(f":{USER}:{PASSWORD}\n")
    disk, programs = place / "disk", place / "programs"
    disk.mkdir()
    programs.mkdir()
    # Between quotes a shell leaves backslashes alone, so the tool's whole path is the name of a program.
    for name in ("powershell.exe", "shutdown.exe", TOOL):
        program = programs / name
        called = name.rpartition("\\")[2]
        program.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -I "{scripted_windows.__file__}" {called} "$@"\n'
        )
        program.chmod(0o755)
    double = Double(place, programs)
    try:
        yield ScriptedWindows(double, disk)
    finally:
        double.stop()


def leading(place: Path) -> dict[str, str]:
    """The environment in which the double finds its users, and its programs the disk."""
    return {"NTLM_USER_FILE": str(place / "users"), "SCRIPTED_WINDOWS": str(place / "disk")}


@pytest.fixture
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedWindows]:
    """The scripted Windows, up and answering."""
    for name, value in leading(tmp_path).items():
        monkeypatch.setenv(name, value)
    with scripted(tmp_path) as windows:
        yield windows


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[HistoryWriter]:
    """The history of the test."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        yield writer


@pytest.fixture
@needs("qemu")
def machine(tmp_path: Path, writer: HistoryWriter) -> Iterator[QemuMachine]:
    """A real machine with a screen, started and paused: everything that is asked of QEMU is asked of QEMU."""
    spec = MachineSpec(
        accelerator="tcg", qemu=qemu_build.find_program(), memory=128 << 20, screen=True, monitor=True
    )
    with QemuMachine(spec, tmp_path / "run", writer) as machine:
        machine.start(Deadline(30, "start QEMU"))
        yield machine


@pytest.fixture
def image(tmp_path: Path, windows: ScriptedWindows) -> WindowsImage:
    """What a built template would say of this guest."""
    return WindowsImage(
        template=find_template("windows-server-2025"),
        base=tmp_path / "base.qcow2",
        variables=tmp_path / "variables.fd",
        certificate=CertificatePin.of(windows.double.certificate),
        password=Secret(PASSWORD),
        digest="0" * 64,
    )


@pytest.fixture
def files(tmp_path: Path) -> DriverFiles:
    """A driver's files; nobody looks into them here."""
    folder = tmp_path / "driver"
    folder.mkdir()
    for name in ("hpnotify.sys", "hpnctl.exe", "test.cer"):
        (folder / name).write_bytes(name.encode() * 100)
    return DriverFiles(
        driver=folder / "hpnotify.sys",
        tool=folder / "hpnctl.exe",
        sha256="ab" * 32,
        label="a test's",
        certificate=folder / "test.cer",
    )


MakeGuest = Callable[..., WindowsGuest]


def panicked(*words: int) -> dict[str, Any]:
    """A GUEST_PANICKED from Hyper-V's crash registers, as QEMU's schema has it (qapi/run-state.json)."""
    info = {"type": "hyper-v"} | {f"arg{place}": word for place, word in enumerate(words, 1)}
    stamp = {"seconds": 1, "microseconds": 0}
    return {"event": "GUEST_PANICKED", "data": {"action": "run", "info": info}, "timestamp": stamp}


@pytest.fixture
def make_guest(
    tmp_path: Path,
    windows: ScriptedWindows,
    machine: QemuMachine,
    writer: HistoryWriter,
    image: WindowsImage,
    files: DriverFiles,
) -> Iterator[MakeGuest]:
    """Make guests on the machine; keywords are WindowsGuest's."""
    made: list[WindowsGuest] = []

    def make(*, transports: GuestTransports | None = None, **more: Any) -> WindowsGuest:
        windows.change(monitor=str(machine.human))
        directory = tmp_path / "run"
        guest = WindowsGuest(
            machine,
            writer,
            image,
            transports or windows.transports(),
            directory=directory,
            **{"files": files, "look": False, **more},
        )
        made.append(guest)
        return guest

    yield make
    for guest in made:
        guest.close()


@pytest.fixture
def guest(make_guest: MakeGuest, within: Deadline) -> WindowsGuest:
    """A guest that is ready."""
    found = make_guest()
    found.wait_ready(within)
    return found
