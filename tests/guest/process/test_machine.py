# SPDX-License-Identifier: MIT
"""A machine that is a process, with programs that say anything: real processes, no driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import CommandRefused, GuestCrash, GuestHang, GuestRefused
from harness.guest.process.machine import LONGEST_LINE, ProcessMachine
from harness.history import record as r
from harness.history.reader import History
from harness.history.writer import HistoryWriter
from harness.host.registry import Registry
from harness.interrupts import Interrupted
from harness.machine.machine import MachineSpec
from tests.struck_registry import StruckRegistry

Make = Callable[..., ProcessMachine]

ANSWERS = (
    'while read -r line; do case "$line" in quit) exit 3;; silent) ;; *) echo "$SAY"; echo "= 0";; esac; done'
)
"""A program that answers every order, after having said something."""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A function that starts a machine whose program is a shell script; all are closed afterwards."""
    made: list[ProcessMachine] = []
    writer = HistoryWriter(tmp_path / "history.jsonl")
    writer.write(r.Header(format=1, harness="0", run="r", guest="test", wall=""))

    def start(script: str = ANSWERS, say: str = "", registry: Registry | None = None) -> ProcessMachine:
        machine = ProcessMachine(
            MachineSpec(accelerator="tcg", qemu=Path(), dimm_slots=2),
            tmp_path / f"run{len(made)}",
            writer,
            name="test",
            label="test",
            command=["env", f"SAY={say}", "sh", "-c", script],
            registry=registry or Registry(),
        )
        made.append(machine)
        machine.start(Deadline(20, "start"))
        return machine

    yield start
    for machine in made:
        machine.close()
    writer.close()


def soon() -> Deadline:
    """Long enough for a busy machine."""
    return Deadline(20, "test")


@pytest.mark.parametrize("strike", [1, 2])
def test_an_interrupt_while_the_machine_is_noted_leaves_no_entry(
    make: Make, tmp_path: Path, strike: int
) -> None:
    """The first entry is written before the process is spawned, the second with its number."""
    registry = StruckRegistry(tmp_path / "registry")
    registry.strike = strike
    with pytest.raises(Interrupted):
        make(registry=registry)
    assert 0 == registry.strike
    assert [] == list(registry.directory.iterdir())


def test_lines_go_where_they_belong(make: Make) -> None:
    """The driver's lines go to the port's file, trouble and the rest to the console, and answers nowhere."""
    machine = make(say="HPN1 a\ntrouble: b\nleft x=0 y=2\nleft z=0\nc")
    machine.sync()
    assert b"HPN1 a\n" == machine.debugcon.read_bytes()
    assert [
        "hpnotify: trouble: b", "hpnotify: trouble: left x=0 y=2", "left z=0", "c",
    ] == machine.console.read_text().splitlines()  # fmt: skip


def test_answers_that_nobody_asked_for_answer_nothing(make: Make) -> None:
    """A flood of answers is not taken for those to come."""
    machine = make('read -r line; printf "= 0\\n= 5\\n= 6\\n"; while read -r line; do echo "= 0"; done')
    assert "0" == machine.ask("next", soon())
    machine.sync()
    assert ["= 5", "= 6"] == machine.console.read_text().splitlines()


def test_a_line_without_end_is_said_in_pieces(make: Make) -> None:
    """What never ends its line is written down as it comes, and an unfinished line of the driver stays unfinished."""
    script = (
        f"read -r line; echo '= 0'; head -c {3 * LONGEST_LINE} /dev/zero; printf 'HPN1 cut'; exec sleep 60"
    )
    machine = make(script)
    Deadline(20, "the bytes").poll(lambda: machine.log.stat().st_size > 3 * LONGEST_LINE)
    machine.close()
    assert 3 * LONGEST_LINE < machine.console.stat().st_size + machine.debugcon.stat().st_size


def test_a_program_that_ends_is_a_crash_with_its_words(make: Make) -> None:
    """Its exit status and its last words are in the message; so is a program that cannot be begun."""
    machine = make(say="farewell")
    with pytest.raises(GuestCrash, match=r"exit status 3: .*farewell"):
        machine.ask("quit", soon())
    with pytest.raises(GuestCrash, match="exit status 7: nothing here"):
        make("echo nothing here; exit 7")


def test_a_program_that_is_silent_is_a_hang(make: Make) -> None:
    """An order that is not answered ends with the deadline, and later answers are not mistaken for its."""
    machine = make()
    with pytest.raises(GuestHang, match=r"'silent' within 0\.3 s"):
        machine.ask("silent", Deadline(0.3, "test"))


def test_a_reset_ends_the_guest_once(make: Make, tmp_path: Path) -> None:
    """A machine that resets itself is a boot in the history, however often it says so, and a crash for whoever asks."""
    machine = make(
        'read -r line; echo "= 0"; while read -r line; do echo reset; echo reset; echo "= 0"; done'
    )
    with pytest.raises(GuestCrash, match="reset itself"):
        machine.ask("more", soon())
    boots = [record for record in History(tmp_path / "history.jsonl") if isinstance(record, r.Boot)]
    assert ["guest-reset"] == [boot.cause for boot in boots]


def test_what_is_added_while_paused_is_handed_over_together(make: Make) -> None:
    """A paused machine accepts, keeps its slots, cannot be asked, and says everything when it goes on."""
    machine = make('while read -r line; do echo "did $line"; echo "= 0"; done')
    machine.pause(soon())
    machine.add_cpu("a", machine.cpu_slots(soon())[2], soon())
    machine.add_dimm("b", 128 << 20, soon())
    with pytest.raises(GuestRefused, match="paused"):
        machine.ask("echo", soon())
    with pytest.raises(CommandRefused, match="slot 2 is taken"):
        machine.add_cpu("c", machine.cpu_slots(soon())[2], soon())
    assert "add" not in machine.console.read_text()
    machine.resume(soon())
    machine.ask("echo", soon())
    machine.sync()
    assert ["did add 2", "did memory 0x100000000 0x8000000"] == machine.console.read_text().splitlines()[1:3]
    assert [("b", 0, 4 << 30)] == [(d.id, d.slot, d.address) for d in machine.memory_devices(soon())]


def test_closing_twice_and_ending_by_itself(make: Make) -> None:
    """Told to finish, a program that reads to its end ends by itself; closing it then, and again, does nothing."""
    machine = make()
    machine.finish(soon())
    assert not machine.alive()
    machine.close()
    machine.close()
