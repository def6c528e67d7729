# SPDX-License-Identifier: MIT
"""What every machine must do, whatever its backend: a suite that a backend's tests inherit.

A backend supplies the fixtures ``make_machine`` (keywords as MachineSpec) and ``deadline``.
"""

from __future__ import annotations

import calendar
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import CommandRefused, GuestHang, MachineFailed
from harness.machine.attachments import RealTimeClock
from harness.machine.inspection import Inspectable, Inspector
from harness.machine.machine import Machine
from tests.machine import bare_guest

MIB = 1 << 20


def clock_of(machine: Machine, deadline: Deadline) -> int:
    """What the real-time clock shows, in seconds since the epoch (QEMU: hw/rtc/mc146818rtc.c, ``rtc-time``)."""
    shown = machine.execute("qom-get", deadline, path="/machine", property="rtc-time")
    names = ("tm_year", "tm_mon", "tm_mday", "tm_hour", "tm_min", "tm_sec")
    year, month, *rest = (int(shown[name]) for name in names)
    return calendar.timegm((year + 1900, month + 1, *rest))


class MachineContract:
    """Inherit this with a name that starts with Test. Each backend refuses in the words of whom it speaks to."""

    duplicate_cpu = ("device_add", "GenericError")
    slot_taken = "exist"
    no_dimm_slot = "no free slots"

    @pytest.fixture
    def machine(self, make_machine: Callable[..., Machine], deadline: Deadline) -> Machine:
        """A started, still paused machine with two of four processors and two DIMM slots."""
        machine = make_machine(processors=2, max_processors=4, dimm_slots=2)
        machine.start(deadline)
        return machine

    def test_starts_paused(self, machine: Machine, deadline: Deadline) -> None:
        """No instruction runs before resume."""
        assert machine.execute("query-status", deadline)["running"] is False

    def test_resume_and_pause(self, machine: Machine, deadline: Deadline) -> None:
        """Resume lets the guest run and pause stops it."""
        machine.resume(deadline)
        assert machine.execute("query-status", deadline)["running"] is True
        machine.pause(deadline)
        assert machine.execute("query-status", deadline)["running"] is False

    def test_a_clock_of_its_own_begins_at_its_start_and_stands_while_the_machine_does(
        self, make_machine: Callable[..., Machine], deadline: Deadline
    ) -> None:
        """However late the machine is let run: QEMU itself is asked what its real-time clock shows."""
        start = calendar.timegm((2026, 3, 1, 10, 1, 0))
        machine = make_machine(clock=RealTimeClock(start=start))
        machine.start(deadline)
        began = time.monotonic()
        deadline.poll(lambda: time.monotonic() - began > 2)
        assert start == clock_of(machine, deadline)
        machine.resume(deadline)
        deadline.poll(lambda: clock_of(machine, deadline) > start)
        machine.pause(deadline)
        stood = clock_of(machine, deadline)
        assert 0 < stood - start < time.monotonic() - began

    def test_the_host_s_clock_is_in_utc(
        self, make_machine: Callable[..., Machine], deadline: Deadline
    ) -> None:
        """To the second or two that asking takes."""
        machine = make_machine(clock=RealTimeClock())
        machine.start(deadline)
        assert abs(clock_of(machine, deadline) - time.time()) < 10

    def test_slots_ascend(self, machine: Machine, deadline: Deadline) -> None:
        """Slots come in ascending order, the occupied ones first, with QEMU's own props."""
        slots = machine.cpu_slots(deadline)
        assert [0, 1, 2, 3] == [slot.index for slot in slots]
        assert [0, 1, 2, 3] == [slot.props["socket-id"] for slot in slots]
        assert [True, True, False, False] == [bool(slot.qom) for slot in slots]

    def test_add_cpu(self, machine: Machine, deadline: Deadline) -> None:
        """An added processor occupies the slot that was asked for, in any order."""
        machine.add_cpu("cpu3", machine.cpu_slots(deadline)[3], deadline)
        assert ["", "/machine/peripheral/cpu3"] == [slot.qom for slot in machine.cpu_slots(deadline)[2:]]

    def test_add_dimm(self, machine: Machine, deadline: Deadline) -> None:
        """An added DIMM is listed with its size, slot and node."""
        machine.add_dimm("dimm0", 128 * MIB, deadline)
        found = [(dimm.id, dimm.size, dimm.slot, dimm.node) for dimm in machine.memory_devices(deadline)]
        assert [("dimm0", 128 * MIB, 0, 0)] == found

    def test_id_in_use(self, machine: Machine, deadline: Deadline) -> None:
        """A second device of the same id is refused, and nothing is plugged."""
        slots = machine.cpu_slots(deadline)
        machine.add_cpu("cpu2", slots[2], deadline)
        with pytest.raises(CommandRefused, match="uplicate") as refused:
            machine.add_cpu("cpu2", slots[3], deadline)
        assert self.duplicate_cpu == (refused.value.command, refused.value.error_class)
        assert "" == machine.cpu_slots(deadline)[3].qom

    def test_slot_in_use(self, machine: Machine, deadline: Deadline) -> None:
        """A processor for an occupied slot is refused."""
        with pytest.raises(CommandRefused, match=self.slot_taken):
            machine.add_cpu("cpu0", machine.cpu_slots(deadline)[0], deadline)

    def test_no_dimm_slot_left(self, machine: Machine, deadline: Deadline) -> None:
        """A DIMM too many is refused, and its backend is deleted again so that the id stays free."""
        for number in range(2):
            machine.add_dimm(f"dimm{number}", 128 * MIB, deadline)
        for _ in range(2):
            with pytest.raises(CommandRefused, match=self.no_dimm_slot):
                machine.add_dimm("dimm2", 128 * MIB, deadline)

    def test_a_request_to_give_back_is_the_guest_s_to_answer(
        self, machine: Machine, deadline: Deadline
    ) -> None:
        """It is accepted, and the DIMM stays where it is, for no guest has begun."""
        machine.add_dimm("dimm0", 128 * MIB, deadline)
        machine.unplug("dimm0", deadline)
        assert ["dimm0"] == [dimm.id for dimm in machine.memory_devices(deadline)]
        assert [] == machine.events("DEVICE_DELETED")

    def test_what_is_not_there_cannot_be_asked_for(self, machine: Machine, deadline: Deadline) -> None:
        """The request is refused, with the name."""
        with pytest.raises(CommandRefused, match="nope"):
            machine.unplug("nope", deadline)

    def test_reset_is_announced(self, machine: Machine, deadline: Deadline) -> None:
        """A reset returns once the machine told of a reset by the host.

        SeaBIOS that takes it for a soft reset resets the machine once more, as a guest (SeaBIOS, src/resume.c).
        """
        machine.resume(deadline)
        before = machine.serial()
        machine.reset(deadline)
        told = [event.data["guest"] for event in machine.events("RESET", after=before)]
        assert [False] == told[:1]
        assert False not in told[1:]

    def test_event_of_the_past_satisfies_no_wait(self, machine: Machine, deadline: Deadline) -> None:
        """Only an event after the given serial counts."""
        machine.resume(deadline)
        machine.reset(deadline)
        with pytest.raises(GuestHang, match=r"no RESET guest=False within 0\.1 s"):
            machine.wait_event("RESET", deadline.within(0.1, "test"), after=machine.serial(), guest=False)

    def test_event_of_the_past_satisfies_no_wait_that_another_wakes(
        self, machine: Machine, deadline: Deadline
    ) -> None:
        """Nor does it when something else happens meanwhile."""
        machine.resume(deadline)
        machine.pause(deadline)
        machine.wait_event("STOP", deadline)
        resume = threading.Timer(0.1, machine.resume, (deadline,))
        after = machine.serial()
        resume.start()
        with pytest.raises(GuestHang):
            machine.wait_event("STOP", deadline.within(0.5, "test"), after=after)
        resume.join()
        assert 1 == len(machine.events("RESUME", after=after))

    def test_channels(self, make_machine: Callable[..., Machine], deadline: Deadline, tmp_path: Path) -> None:
        """What the guest writes to COM1 and to the debug port is in the files when it resets, and not before."""
        kernel = bare_guest.build(
            tmp_path / "kernel",
            bare_guest.write(bare_guest.COM1, b"hello console\n"),
            bare_guest.write(bare_guest.DEBUG_PORT, b"hello debug\n"),
            bare_guest.panic(),
        )
        machine = make_machine(kernel=kernel)
        machine.start(deadline)
        assert (0, 0) == (machine.console.stat().st_size, machine.debugcon.stat().st_size)
        machine.resume(deadline)
        machine.wait_event("GUEST_PANICKED", deadline)
        assert machine.console.read_bytes().endswith(b"hello console\n")
        assert b"hello debug\n" == machine.debugcon.read_bytes()

    def test_event_of_one_device(
        self, make_machine: Callable[..., Machine], deadline: Deadline, tmp_path: Path
    ) -> None:
        """A wait for one device's event is not satisfied by another's, nor by another cause."""
        kernel = bare_guest.build(
            tmp_path / "kernel",
            bare_guest.dimm_ost(0, 1, 0),
            bare_guest.dimm_ost(1, 3, 0x84),
            bare_guest.dimm_ost(1, 1, 1),
        )
        machine = make_machine(kernel=kernel)
        machine.start(deadline)
        for device in ("dimm0", "dimm1"):
            machine.add_dimm(device, 128 * MIB, deadline)
        before = machine.serial()
        machine.resume(deadline)
        match = {"info.device": "dimm1", "info.source": 1}
        event = machine.wait_event("ACPI_DEVICE_OST", deadline, after=before, **match)
        assert {"device": "dimm1", "slot": "1", "slot-type": "DIMM", "source": 1, "status": 1} == event.data[
            "info"
        ]
        seen = machine.events("ACPI_DEVICE_OST", after=before)
        assert [("dimm0", 1), ("dimm1", 3), ("dimm1", 1)] == [
            (each.data["info"]["device"], each.data["info"]["source"]) for each in seen
        ]
        assert sorted(each.serial for each in seen) == [each.serial for each in seen]
        assert sorted(each.host_ns for each in seen) == [each.host_ns for each in seen]

    def test_looked_at_from_outside(
        self, make_machine: Callable[..., Machine], deadline: Deadline, tmp_path: Path
    ) -> None:
        """Registers, screen and memory of a guest that does nothing and is asked nothing; it goes on afterwards."""
        kernel = bare_guest.build(tmp_path / "kernel", bare_guest.spin())
        machine = make_machine(kernel=kernel, processors=2, max_processors=2, screen=True)
        machine.start(deadline)
        machine.resume(deadline)
        assert isinstance(machine, Inspectable)
        inspector = machine.inspector()
        registers = inspector.registers(deadline)
        assert ["CPU#0", "CPU#1"] == [
            line.strip() for line in registers.splitlines() if line.startswith("CPU#")
        ]
        picture = inspector.screenshot(tmp_path / "screen", deadline)
        assert picture.read_bytes()[:4] in (b"\x89PNG", b"P6\n7", b"P6 7")
        self.check_dump(inspector, tmp_path / "memory.elf", deadline)
        assert machine.execute("query-status", deadline)["running"] is True

    def check_dump(self, inspector: Inspector, file: Path, deadline: Deadline) -> None:
        """The dump is an ELF file that holds all memory."""
        inspector.dump(file, deadline)
        with file.open("rb") as memory:
            assert b"\x7fELF" == memory.read(4)
        assert file.stat().st_size > 128 * MIB

    def test_close_is_idempotent(self, machine: Machine, deadline: Deadline) -> None:
        """After close nothing runs, nothing answers, and closing again does nothing."""
        machine.close()
        machine.close()
        assert not machine.alive()
        with pytest.raises(MachineFailed, match="was closed"):
            machine.execute("query-status", deadline)
