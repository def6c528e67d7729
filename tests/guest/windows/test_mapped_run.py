# SPDX-License-Identifier: MIT
"""Runs of somebody else's driver on a Windows guest: from ``--driver-map`` to the verdict, and what is refused before a boot."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from guest.windows.conftest import ScriptedWindows
from guest.windows.test_driver_trace import CLOSED, OPEN, START, STOP, TINY, change, logged
from guest.windows.test_guest_type import NAME, Request, driver, request_of, store

from harness.capture.mapping.driver_map import load
from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import BadDocument, UsageError
from harness.guest.bootable import GuestOptions
from harness.guest.windows import guest_type as guest_type_module
from harness.guest.windows.guest_type import WindowsType
from harness.guest.windows.image import WindowsImage
from harness.guest.windows.transports import GuestTransports
from harness.history.driver import DriverRecord
from harness.history.reader import History
from harness.history.record import Channel
from harness.host import qemu_build
from harness.machine.machine import Machine, MachineSpec
from harness.run.judging import judge_run
from harness.run.operation import LoadDriver, UnloadDriver
from harness.run.options import Timeouts
from harness.run.run import perform
from harness.template.store import Store

__all__ = ["driver", "request_of", "store"]

MAP = TINY / "harness.toml"


def image(*, machine: int = 0x8664, subsystem: int = 1) -> bytes:
    """The headers of a Windows image, as the PE format has them, and nothing behind them."""
    optional = struct.pack("<H", 0x20B) + bytes(66) + struct.pack("<H", subsystem) + bytes(42)
    file = struct.pack("<HHIIIHH", machine, 0, 0, 0, 0, len(optional), 0x22)
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + file + optional


@pytest.fixture
def tiny(tmp_path: Path, driver: Path) -> Path:
    """A folder with the driver's file and our tool."""
    (driver / "tiny.sys").write_bytes(image())
    return driver


def answering(monkeypatch: pytest.MonkeyPatch, windows: ScriptedWindows) -> None:
    """Have the scripted Windows answer at the guest's ports."""

    def transports(_machine: Machine, _image: WindowsImage, _deadline: Deadline) -> GuestTransports:
        return windows.transports()

    monkeypatch.setattr(guest_type_module, "transports_into", transports)


@pytest.mark.qemu
@pytest.mark.remote
def test_driver_is_judged_by_its_own_events(
    store: Store,
    request_of: Request,
    windows: ScriptedWindows,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its service is created, its session traced, and what it told stands between the host's records and is judged again alike."""
    answering(monkeypatch, windows)
    told = [*START[:2], *change(0), *change(1), *START[2:]]
    windows.change(
        log_head=OPEN.hex(),
        log_closed=CLOSED.hex(),
        logged={"start": [logged(told, at=1)], "stop": [logged(STOP, at=100, sequence=2)]},
    )
    result = perform(
        request_of(
            LoadDriver(), UnloadDriver(), driver=str(tiny), driver_map=str(MAP), budget=Timeouts(quiet=0.01)
        )
    )
    assert (None, Verdict.HOLDS) == (result.error, result.verdict.verdict)
    rules = {rule.rule: rule.verdict for rule in result.verdict.rules}
    assert (Verdict.HOLDS, Verdict.NOT_APPLICABLE) == (
        rules["ADDEX-STARTS-THEN-COMPLETES"], rules["COUNT-MONOTONIC"],
    )  # fmt: skip
    history = list(History(result.directory))
    assert {"tiny"} == {one.driver for one in history if isinstance(one, DriverRecord)}
    (account,) = [one for one in history if isinstance(one, Channel) and one.name == "etw"]
    assert (13, 0, True) == (account.records, account.lost, account.closed)
    (load,) = windows.calls("driver-load")
    assert ("tiny", [], {}) == (load["Driver"], load["Names"], windows.model["services"])
    assert (result.directory / "guest" / "driver.etl").is_file()
    assert rules == {rule.rule: rule.verdict for rule in judge_run(result.directory).verdict.rules}  # type: ignore[union-attr]


@pytest.mark.qemu
@pytest.mark.remote
def test_defect_of_the_driver_is_found_through_its_map(
    store: Store,
    request_of: Request,
    windows: ScriptedWindows,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Complete without a Start before it is a violation, on Windows as on the twin."""
    answering(monkeypatch, windows)
    told = [*START[:2], *change(1), *change(0), *START[2:]]
    windows.change(log_head=OPEN.hex(), log_closed=CLOSED.hex(), logged={"start": [logged(told, at=1)]})
    result = perform(
        request_of(LoadDriver(), driver=str(tiny), driver_map=str(MAP), budget=Timeouts(quiet=0.01))
    )
    assert Verdict.VIOLATED is result.verdict.verdict


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("files", "said", "hint"),
    [
        ({}, "nothing says where the driver is", 'service = "NAME"'),
        (
            {"other.sys": image()},
            "there is no .*tiny.sys.* drivers in the folder: other.sys",
            "--driver FILE",
        ),
        ({"tiny.sys": b"no image"}, "is not an image that Windows could load", ".sys file"),
        ({"tiny.sys": image(machine=0x14C)}, "is for machine 0x014c, not 0x8664", "x64 build"),
        ({"tiny.sys": image(subsystem=3)}, "subsystem: is 3, not 1", "x64 build"),
    ],
)
def test_driver_that_cannot_be_is_refused_before_the_boot(
    store: Store, tmp_path: Path, files: dict[str, bytes], said: str, hint: str
) -> None:
    """With the way out; no machine has been started."""
    folder = None
    if files:
        folder = tmp_path / "somebody's"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
    options = GuestOptions(
        spec=MachineSpec(accelerator="tcg", qemu=qemu_build.find_program()),
        cache=tmp_path, directory=tmp_path, driver=folder, mapped=load(MAP),
    )  # fmt: skip
    with pytest.raises(UsageError, match=said) as caught:
        WindowsType(NAME, store=store).prepare(options, Deadline(30, "prepare"), lambda _: None)
    assert hint in caught.value.hint
    store.check_unused(NAME)


def test_service_of_a_map_is_a_name(tmp_path: Path) -> None:
    """A path, or an argument of sc.exe, is none."""
    (tmp_path / "tiny.man").write_bytes((TINY / "tiny.man").read_bytes())
    for service, good in (("Tiny_2", True), ("a b", False), ("x\\y", False)):
        file = tmp_path / "map.toml"
        file.write_text(f"service = '{service}'\n{MAP.read_text()}")
        if good:
            assert service == load(file).service
        else:
            with pytest.raises(BadDocument, match="service"):
                load(file)
