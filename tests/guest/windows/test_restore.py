# SPDX-License-Identifier: MIT
"""A Windows guest that is saved when it is ready and goes on in later runs: real QEMU and firmware, a scripted Windows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest
from guest.windows.conftest import MakeGuest, ScriptedWindows
from guest.windows.scripted_windows import EPOCH_TICKS
from guest.windows.test_guest_type import GIB, NAME, Request, driver, request_of, store
from guest.windows.test_mapped_run import answering

from harness.deadline import Deadline
from harness.errors import GuestRefused, UsageError
from harness.guest.windows.guest_type import machine_of
from harness.guest.windows.restoration import MOMENT, TICKS
from harness.history.reader import History
from harness.history.record import Boot, GuestEvent, Stage
from harness.host import qemu_build
from harness.machine.attachments import Disk
from harness.machine.machine import MachineSpec
from harness.machine.qemu.ability import unmovable
from harness.run.operation import LoadDriver, Migrate
from harness.run.options import Timeouts
from harness.run.plan import Plan
from harness.run.run import RunResult, perform
from harness.setup.cache import cache_directory
from harness.template.store import Store
from harness.template.template import find_template

__all__ = ["driver", "request_of", "store"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The user's cache, but for the snapshots, of which only so many are kept."""
    own = tmp_path / "cache"
    own.mkdir()
    for each in cache_directory(os.environ).iterdir():
        if each.name != "states":
            (own / each.name).symlink_to(each)
    return own


def told(result: RunResult) -> dict[str, str]:
    """What the guest told of itself in the run: the last detail of each event."""
    return {one.event: one.detail for one in History(result.directory) if isinstance(one, GuestEvent)}


def notes(result: RunResult) -> str:
    """What was done about the state."""
    return "\n".join(
        one.detail for one in History(result.directory) if isinstance(one, Stage) and one.name == "state"
    )


@pytest.mark.qemu
@pytest.mark.remote
def test_later_runs_begin_where_the_first_boot_ended(
    store: Store,
    request_of: Request,
    windows: ScriptedWindows,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything is asked anew, clock and leases are put right, and the tool is not copied again."""
    answering(monkeypatch, windows)
    wanted = {"restore": True, "cache": cache, "budget": Timeouts(quiet=0.01)}
    first = perform(request_of(LoadDriver(), **wanted))
    assert None is first.error
    assert "booting once, to save the ready snapshot" in notes(first)
    windows.change(calls=[], services={})
    second = perform(request_of(LoadDriver(), **wanted))
    assert None is second.error
    assert "booting once" not in notes(second)
    for result in (first, second):
        (boot,) = [one for one in History(result.directory) if isinstance(one, Boot)]
        assert "restored" == boot.cause
        events = told(result)
        assert "goes on at " in events["clock"]
        assert ", saved at " in events["clock"]
        assert events["network"].startswith("leases renewed; 10.0.2.15 until ")
        assert "boot 1" == events["ready"]
        # What the guest said when it was saved was said in another run.
        assert MOMENT not in events
    asked = [name for name, _values in windows.model["calls"]]
    assert ["clock-and-lease", "ready", "preflight"] == asked[:3]
    assert [] == windows.calls("shutdown")
    (saved,) = (cache / "states").glob("*/state.json")
    assert MOMENT in saved.read_text()
    # The driver's tool is part of the state: another one makes another state.
    tool = Path(request_of().driver) / "hpnctl.exe"
    tool.write_bytes(b"another")
    assert "booting once" in notes(perform(request_of(LoadDriver(), **wanted)))


@pytest.mark.qemu
@pytest.mark.remote
@pytest.mark.parametrize(
    ("seconds", "said"), [(4000, r"was 39[4-9][0-9] s ahead and set to |was 4000 s"), (0, "goes on at ")]
)
def test_clock_that_is_elsewhere_is_set(
    make_guest: MakeGuest, windows: ScriptedWindows, seconds: int, said: str, within: Deadline, tmp_path: Path
) -> None:
    """To the time of the saving and what passed since; a lease is asked for anew either way."""
    saved = EPOCH_TICKS + 1_800_000_000 * TICKS
    windows.change(utc=saved + seconds * TICKS)
    guest = make_guest()
    guest.revive([(MOMENT, f"ticks={saved} then"), ("ready", "boot 1")], "abc", within)
    written = (tmp_path / "history.jsonl").read_text()
    assert re.search(f'"detail":"(?:{said})', written)
    (call,) = windows.calls("clock-and-lease")
    assert call["Renew"]
    assert 0 <= call["Expected"] - saved < 60 * TICKS
    if seconds:
        assert windows.model["utc"] == call["Expected"]


@pytest.mark.qemu
@pytest.mark.remote
def test_clock_stays_where_the_moment_is_not_known(
    make_guest: MakeGuest, windows: ScriptedWindows, within: Deadline
) -> None:
    """A state that was saved in the middle of a plan; and one of a guest that was not ready is refused."""
    windows.change(utc=EPOCH_TICKS)
    guest = make_guest()
    guest.revive([("ready", "boot 1")], "abc", within)
    assert EPOCH_TICKS == windows.model["utc"]
    with pytest.raises(GuestRefused, match="had not been ready when its snapshot was saved"):
        make_guest().revive([(MOMENT, "ticks=1")], "abc", within)


@pytest.mark.qemu
@pytest.mark.remote
def test_groups_of_the_image_are_told_again(make_guest: MakeGuest, within: Deadline, tmp_path: Path) -> None:
    """They had been preset, and are in force in the restored guest."""
    make_guest().revive([("boot-option", "groupsize=2"), ("ready", "boot 1")], "abc", within)
    assert '"event":"boot-option","detail":"groupsize=2"' in (tmp_path / "history.jsonl").read_text()


@pytest.mark.qemu
def test_machine_that_cannot_be_saved_is_named() -> None:
    """The device of the driver's package, whose state QEMU does not send, is left out of a machine that moves; NVMe is refused."""
    template = find_template(NAME)
    wanted = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program(), memory=GIB)
    stays = machine_of(template, wanted, Path("disk"), Path("variables"))
    moves = machine_of(template, wanted, Path("disk"), Path("variables.qcow2"), moves=True)
    assert "edu" in unmovable(stays)
    assert "" == unmovable(moves)
    assert ("raw", "qcow2") == (stays.flash.variables_format, moves.flash.variables_format)  # type: ignore[union-attr]
    nvme = msgspec.structs.replace(moves, disks=(Disk(file=Path("disk"), bus="nvme"),))
    assert "NVMe" in unmovable(nvme)


@pytest.mark.qemu
@pytest.mark.parametrize("plan", [{"pnp": True, "do": []}, {"driver": False, "do": [LoadDriver(pnp=True)]}])
def test_package_of_the_driver_and_a_restored_state_do_not_go_together(
    request_of: Request, plan: dict[str, object]
) -> None:
    """The reason is said before anything starts; a door that restores by default boots instead, and the twin restores."""
    made = Plan(name="try", **plan)  # type: ignore[arg-type]
    with pytest.raises(
        UsageError, match="QEMU does not save the state of the device that the driver's package is for"
    ):
        request_of(plan=made, restore=True)
    assert not request_of(plan=made, restore=None).restore
    assert request_of(plan=made, restore=True, guest="twin", driver="").restore


@pytest.mark.qemu
def test_plan_that_migrates_has_a_machine_that_can(request_of: Request) -> None:
    """Unless it needs the package's device: then the reason is said before the boot."""
    assert request_of(Migrate()).migrates
    assert not request_of(Migrate()).with_devices
