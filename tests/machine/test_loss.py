# SPDX-License-Identifier: MIT
"""What is lost in the middle: the monitor's connection, QEMU itself, the harness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from qemu.qmp import Message

from harness.deadline import Deadline
from harness.errors import (
    CommandRefused,
    ExitCode,
    GuestError,
    InfrastructureError,
    MachineFailed,
    MonitorLost,
)
from harness.history.record import Qmp, Record, Stage
from harness.history.writer import HistoryWriter
from harness.host.registry import ProcessName, Registry
from harness.machine import event_log, shutdown
from harness.machine.machine import Drop
from harness.machine.qmp_client import Client, Reply
from tests.machine import bare_guest
from tests.machine.conftest import MakeMachine

MIB = 1 << 20

pytestmark = pytest.mark.qemu


def adds(writer: HistoryWriter, command: str = "device_add") -> int:
    """How often a command was sent."""
    records = [msgspec.json.decode(line) for line in writer.path.read_bytes().splitlines()]
    return sum(1 for record in records if record.get("message", {}).get("execute") == command)


def notes(writer: HistoryWriter) -> list[str]:
    """The notes in the history."""
    records = [msgspec.json.decode(line) for line in writer.path.read_bytes().splitlines()]
    return [record["detail"] for record in records if record["k"] == "stage"]


class TestDroppedMonitor:
    """The connection drops; nothing is added twice, nothing is lost."""

    @pytest.mark.parametrize(
        ("when", "sent", "note"),
        [
            ("now", 1, []),
            ("before-command", 1, ["QEMU does not have it, sent again"]),
            ("before-reply", 1, ["QEMU has it, so it was accepted"]),
        ],
    )
    def test_add_cpu(
        self,
        make_machine: MakeMachine,
        deadline: Deadline,
        writer: HistoryWriter,
        when: Drop,
        sent: int,
        note: list[str],
    ) -> None:
        """A processor is added exactly once wherever the connection drops."""
        machine = make_machine()
        machine.start(deadline)
        slot = machine.cpu_slots(deadline)[2]
        machine.drop_monitor(when)
        machine.add_cpu("cpu2", slot, deadline)
        assert "/machine/peripheral/cpu2" == machine.cpu_slots(deadline)[2].qom
        assert sent == adds(writer)
        assert note == [text.partition("; ")[2] for text in notes(writer)]

    @pytest.mark.parametrize("when", ["now", "before-command", "before-reply"])
    def test_add_dimm(self, make_machine: MakeMachine, deadline: Deadline, when: Drop) -> None:
        """So is a DIMM, when its backend's command is the one that is hit."""
        machine = make_machine()
        machine.start(deadline)
        machine.drop_monitor(when)
        machine.add_dimm("dimm0", 128 * MIB, deadline)
        assert ["dimm0"] == [dimm.id for dimm in machine.memory_devices(deadline)]

    def test_at_the_moment_of_sending(
        self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
    ) -> None:
        """A connection that closes while the command goes out, unknown whether in time, still adds exactly once."""
        machine = make_machine()
        machine.start(deadline)
        slot = machine.cpu_slots(deadline)[2]
        dropped = []

        def drop(seen: Record) -> None:
            if isinstance(seen, Qmp) and seen.message.get("execute") == "device_add" and not dropped:
                dropped.append(seen.n)
                machine.drop_monitor()

        writer.subscribe(drop)
        machine.add_cpu("cpu2", slot, deadline)
        assert 1 == len(dropped)
        occupied = [slot.qom for slot in machine.cpu_slots(deadline) if "peripheral" in slot.qom]
        assert ["/machine/peripheral/cpu2"] == occupied

    def test_twice(self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter) -> None:
        """It may drop again while the command is sent again."""
        machine = make_machine()
        machine.start(deadline)
        slot = machine.cpu_slots(deadline)[2]

        def drop_again(seen: Record) -> None:
            if isinstance(seen, Stage) and "sent again" in seen.detail:
                machine.drop_monitor("before-reply")

        writer.subscribe(drop_again)
        machine.drop_monitor("before-command")
        machine.add_cpu("cpu2", slot, deadline)
        assert "/machine/peripheral/cpu2" == machine.cpu_slots(deadline)[2].qom
        assert "dropped again" in notes(writer)[-1]

    def test_a_device_that_was_there_before_proves_nothing(
        self, make_machine: MakeMachine, deadline: Deadline
    ) -> None:
        """An add of an id that is in use is refused also when the connection drops."""
        machine = make_machine()
        machine.start(deadline)
        slot = machine.cpu_slots(deadline)[2]
        machine.add_cpu("cpu2", slot, deadline)
        machine.drop_monitor("before-reply")
        with pytest.raises(CommandRefused):
            machine.add_cpu("cpu2", slot, deadline)

    def test_a_stranger_of_the_same_name_proves_nothing(
        self, make_machine: MakeMachine, deadline: Deadline
    ) -> None:
        """A device of that id in another slot, plugged by somebody else, is not the one that was asked for."""
        machine = make_machine()
        machine.start(deadline)
        slots = machine.cpu_slots(deadline)
        machine.execute("device_add", deadline, driver=slots[3].type, id="cpu2", **slots[3].props)
        machine.drop_monitor("before-reply")
        with pytest.raises(CommandRefused, match="uplicate"):
            machine.add_cpu("cpu2", slots[2], deadline)

    def test_not_sent_is_not_lost(
        self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
    ) -> None:
        """A command that met a connection already gone was never sent, and goes out on the next without a word."""
        machine = make_machine()
        machine.start(deadline)
        kept = machine._monitor

        class Gone(Client):
            def submit(self, message: Message, reply: Reply, descriptor: int | None = None) -> None:
                kept._client = real
                super().submit(message, reply, descriptor)

        real, kept._client = kept._client, Gone(99, kept.log.passed, kept._fault)
        machine.resume(deadline)
        assert 1 == adds(writer, "cont")

    def test_a_refusal_that_nobody_read(
        self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
    ) -> None:
        """When the reply that got lost was a refusal, the caller still learns of it."""
        machine = make_machine()
        machine.start(deadline)
        slot = machine.cpu_slots(deadline)[0]
        machine.drop_monitor("before-reply")
        with pytest.raises(CommandRefused, match="exist"):
            machine.add_cpu("cpu0", slot, deadline)
        assert 2 == adds(writer)

    def test_queries_are_asked_again(
        self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
    ) -> None:
        """A question is asked again without a word."""
        machine = make_machine()
        machine.start(deadline)
        machine.drop_monitor("before-reply")
        assert machine.execute("query-status", deadline)["running"] is False
        assert 2 == adds(writer, "query-status")

    def test_others_are_not(
        self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
    ) -> None:
        """Any other command raises, with the connection restored."""
        machine = make_machine()
        machine.start(deadline)
        machine.drop_monitor("before-reply")
        with pytest.raises(
            MonitorLost, match="cont: the QMP connection dropped before the reply; it is restored"
        ):
            machine.resume(deadline)
        assert 1 == adds(writer, "cont")
        assert machine.execute("query-status", deadline)["running"] is True

    def test_the_history_counts_connections(
        self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
    ) -> None:
        """Each connection's messages carry its number, and each begins with a greeting."""
        machine = make_machine()
        machine.start(deadline)
        for _ in range(2):
            machine.drop_monitor()
            machine.execute("query-status", deadline)
        records = [msgspec.json.decode(line, type=Qmp) for line in writer.path.read_bytes().splitlines()]
        assert [1, 2, 3] == [record.monitor for record in records if "QMP" in record.message]

    def test_a_wait_outlives_it(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """Whoever waits for an event gets it from the next connection."""
        machine = make_machine()
        machine.start(deadline)
        before = machine.serial()
        machine.drop_monitor()
        machine.execute("query-status", deadline)
        machine.resume(deadline)
        assert "RESUME" == machine.wait_event("RESUME", deadline, after=before).name


class TestDeadQemu:
    """QEMU ends when it should not; everybody learns at once, with its words."""

    def test_at_start(self, make_machine: MakeMachine, deadline: Deadline, registry: Registry) -> None:
        """A bad machine type: status, command and QEMU's own words, and nothing left."""
        machine = make_machine(machine="nonsense")
        with pytest.raises(MachineFailed, match="unsupported machine type") as failed:
            machine.start(deadline)
        assert "exit status 1" in failed.value.message
        assert "qemu-system-x86_64 -name" in failed.value.hint
        assert "unsupported machine type" in failed.value.output
        assert "-machine nonsense" in failed.value.hint
        assert [] == registry.entries()
        assert not machine.control.parent.exists()

    def test_after_the_greeting(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """A QEMU that was killed is told so by the next command."""
        machine = make_machine()
        machine.start(deadline)
        os.kill(machine.pid, signal.SIGKILL)
        with pytest.raises(MachineFailed, match="QEMU died, killed by SIGKILL, without any output"):
            machine.resume(deadline)
        machine.close()
        assert machine.exit_report is not None
        assert not machine.exit_report.asked

    def test_during_an_add(
        self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
    ) -> None:
        """A QEMU killed in the middle of an add fails the add."""
        machine = make_machine()
        machine.start(deadline)
        slot = machine.cpu_slots(deadline)[2]

        def kill(seen: Record) -> None:
            if isinstance(seen, Qmp) and seen.message.get("execute") == "device_add":
                os.kill(machine.pid, signal.SIGKILL)

        writer.subscribe(kill)
        with pytest.raises(MachineFailed, match="device_add: QEMU died, killed by SIGKILL"):
            machine.add_cpu("cpu2", slot, deadline)

    def test_during_a_wait(self, make_machine: MakeMachine) -> None:
        """Who waits for an event does not wait for the deadline."""
        machine = make_machine()
        machine.start(Deadline(30, "start"))
        threading.Timer(0.1, os.kill, (machine.pid, signal.SIGKILL)).start()
        wait = Deadline(300, "wait")
        with pytest.raises(MachineFailed, match="waiting for NEVER: QEMU died"):
            machine.wait_event("NEVER", wait)
        assert wait.remaining() > 200

    def test_last_event_is_not_lost(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """What QEMU said before it ended is heard even by those who ask late."""
        machine = make_machine()
        machine.start(deadline)
        os.kill(machine.pid, signal.SIGTERM)
        deadline.poll(lambda: not machine.alive())
        assert "host-signal" == machine.wait_event("SHUTDOWN", deadline).data["reason"]
        with pytest.raises(MachineFailed, match="exit status 0"):
            machine.check_alive()


class TestStuckQemu:
    """QEMU runs and does nothing."""

    def test_no_answer(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """A command costs its deadline and no more."""
        machine = make_machine()
        machine.start(deadline)
        os.kill(machine.pid, signal.SIGSTOP)
        with pytest.raises(MonitorLost, match=r"query-status: QEMU did not answer within 0\.2 s"):
            machine.execute("query-status", Deadline(0.2, "test"))
        os.kill(machine.pid, signal.SIGCONT)
        assert machine.execute("query-status", deadline)["running"] is False

    def test_ladder(
        self, make_machine: MakeMachine, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A QEMU that hears neither quit nor SIGTERM is killed."""
        monkeypatch.setattr(shutdown, "QUIT_GRACE", 0.1)
        monkeypatch.setattr(shutdown, "TERM_GRACE", 0.1)
        machine = make_machine()
        machine.start(deadline)
        os.kill(machine.pid, signal.SIGSTOP)
        machine.close()
        assert machine.exit_report is not None
        assert "ended by SIGKILL, killed by SIGKILL" == str(machine.exit_report)

    def test_without_a_monitor(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """With the connection just dropped, closing waits for the next one and still ends it gently."""
        machine = make_machine()
        machine.start(deadline)
        machine.drop_monitor()
        machine.close()
        assert machine.exit_report is not None
        assert "quit" == machine.exit_report.by


class TestFullDisk:
    """The history cannot be written any more."""

    def test_the_caller_learns(
        self, make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
    ) -> None:
        """A history that fails in the monitor's thread fails the command that was under way, and closing still works."""
        machine = make_machine()
        machine.start(deadline)

        def fail(_seen: Record) -> None:
            raise InfrastructureError("cannot write record 9: No space left on device")

        writer.subscribe(fail)
        with pytest.raises(InfrastructureError, match="No space left"):
            machine.execute("query-status", deadline)
        machine.close()
        assert machine.exit_report is not None
        assert "quit" == machine.exit_report.by


FORGETFUL = """
import sys
from pathlib import Path
from harness.deadline import Deadline
from harness.history.writer import HistoryWriter
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.host.registry import Registry
from harness.host.qemu_build import find_program
directory = Path(sys.argv[1])
spec = MachineSpec(accelerator="tcg", qemu=find_program(), memory=128 << 20)
unstarted = QemuMachine(spec, directory, None, registry=Registry(directory / "registry"))
machine = QemuMachine(spec, directory, HistoryWriter(directory / "history.jsonl"), registry=Registry(directory / "registry"))
machine.start(Deadline(30, "start"))
print(machine.pid, machine.control.parent, unstarted.control.parent)
"""


class TestFlood:
    """A hostile guest makes QEMU talk without end."""

    def test_bounded(
        self,
        make_machine: MakeMachine,
        deadline: Deadline,
        writer: HistoryWriter,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The run ends as unknown, history and memory stay bounded, and the machine still closes."""
        monkeypatch.setattr(event_log, "MOST_EVENTS", 200)
        act = bare_guest.dimm_ost(0, 1, 0)
        machine = make_machine(kernel=bare_guest.build(tmp_path / "kernel", act, bare_guest.again(len(act))))
        machine.start(deadline)
        machine.resume(deadline)
        with pytest.raises(
            GuestError, match="made QEMU send 200 events, the last of them ACPI_DEVICE_OST"
        ) as ended:
            machine.wait_event("NEVER", deadline)
        assert ExitCode.UNKNOWN == ended.value.exit_code
        count = writer.count
        machine.close()
        assert count == writer.count < 300
        assert machine.exit_report is not None
        assert machine.exit_report.asked


HARNESS = """
import sys
from pathlib import Path
from harness.deadline import Deadline
from harness.history.record import Qmp
from harness.history.writer import HistoryWriter
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.host.registry import Registry
from harness.host.qemu_build import find_program
directory = Path(sys.argv[1])
spec = MachineSpec(accelerator="tcg", qemu=find_program(), memory=128 << 20)
if "patient" in sys.argv:
    from harness.machine import shutdown
    shutdown.QUIT_GRACE = 300
def closing(seen):
    if isinstance(seen, Qmp) and seen.message.get("execute") == "quit":
        print("closing", flush=True)
with HistoryWriter(directory / "history.jsonl") as writer:
    writer.subscribe(closing)
    with QemuMachine(spec, directory, writer, registry=Registry(directory / "registry")) as machine:
        machine.start(Deadline(30, "start"))
        print(machine.pid, machine.control.parent, flush=True)
        if "leave" in sys.argv:
            sys.stdin.readline()
        else:
            machine.wait_event("NEVER", Deadline(60, "wait"))
"""


class Harness:
    """A harness in a process of its own that waits for ever, or with "leave" for a line before it closes.

    With "patient" it would give a QEMU that does not quit longer than any test waits.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        directory.mkdir()
        self.registry = Registry(directory / "registry")
        self.process = subprocess.Popen(
            [sys.executable, "-c", HARNESS, str(directory), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        pid, runtime = self.line().split()
        self.qemu = int(pid)
        self.runtime = Path(runtime)

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        """Wait for its end and return what it wrote to stderr."""
        return self.process.communicate(timeout=30)[1]


class TestDeadHarness:
    """The harness ends when it should not; its QEMU does not outlive it."""

    def test_kill_nine(self, tmp_path: Path, deadline: Deadline) -> None:
        """Killed outright, the harness takes QEMU with it, and the registry knows what is left."""
        harness = Harness(tmp_path / "run")
        (entry,) = harness.registry.running()
        harness.process.kill()
        harness.end()
        deadline.poll(lambda: ProcessName.of(harness.qemu) is None)
        assert ([entry], []) == (harness.registry.entries(), harness.registry.running())
        assert [] == entry.processes()
        assert harness.runtime.is_dir()
        harness.registry.remove(entry)
        assert not harness.runtime.exists()

    def test_without_close(self, tmp_path: Path) -> None:
        """A program that ends without closing its machines leaves nothing behind."""
        done = subprocess.run(
            [sys.executable, "-c", FORGETFUL, str(tmp_path)], capture_output=True, text=True, check=True
        )
        pid, *places = done.stdout.split()
        assert "" == done.stderr
        assert ProcessName.of(int(pid)) is None
        assert [False, False] == [Path(place).exists() for place in places]
        assert [] == Registry(tmp_path / "registry").entries()

    def test_ctrl_c(self, tmp_path: Path) -> None:
        """Interrupted while it waits, it closes the machine on its way out."""
        harness = Harness(tmp_path / "run")
        harness.process.send_signal(signal.SIGINT)
        assert harness.end().splitlines()[-1] == "KeyboardInterrupt"
        assert ProcessName.of(harness.qemu) is None
        assert [] == harness.registry.entries()
        assert not harness.runtime.exists()

    def test_ctrl_c_twice(self, tmp_path: Path) -> None:
        """Interrupted again while a stuck QEMU is being closed, it kills it at once and still cleans up."""
        harness = Harness(tmp_path / "run", "patient")
        os.kill(harness.qemu, signal.SIGSTOP)
        harness.process.send_signal(signal.SIGINT)
        assert "closing" == harness.line()
        harness.process.send_signal(signal.SIGINT)
        assert harness.end().splitlines()[-1] == "KeyboardInterrupt"
        assert ProcessName.of(harness.qemu) is None
        assert [] == harness.registry.entries()
        assert not harness.runtime.exists()

    def test_ctrl_c_while_closing(self, tmp_path: Path) -> None:
        """Interrupted only while it closes, it finishes closing, and the interrupt still takes effect."""
        harness = Harness(tmp_path / "run", "leave")
        os.kill(harness.qemu, signal.SIGSTOP)
        assert harness.process.stdin is not None
        harness.process.stdin.write("\n")
        harness.process.stdin.flush()
        assert "closing" == harness.line()
        harness.process.send_signal(signal.SIGINT)
        assert harness.end().splitlines()[-1] == "KeyboardInterrupt"
        assert ProcessName.of(harness.qemu) is None
        assert [] == harness.registry.entries()
