# SPDX-License-Identifier: MIT
"""The reader's process on real sockets: the target double, QEMU's own socket replaced by one that listens."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from capture.dbgprint.target import Do, Fault, Line, Target
from capture.lines import encode_line
from capture.live.test_debugcon import mark

from harness.capture.dbgprint import entry
from harness.capture.dbgprint.host import Began, Counts
from harness.capture.dbgprint.message import Print, Stop
from harness.capture.dbgprint.reader import PortLog, PortReader
from harness.capture.dbgprint.service import PortJournal
from harness.capture.live.follower import Follower
from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.history.driver import Mark
from harness.history.record import Console, GuestEvent, Record
from harness.history.writer import HistoryWriter


@pytest.fixture
def deadline() -> Deadline:
    """More than a test takes on a busy host."""
    return Deadline(30, "test")


class Cable:
    """QEMU's side of the port: a listening unix socket with the double behind it, on a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.line: socket.socket | None = None

    def live(self, target: Target, script: list[Do], out: Line | None = None) -> None:
        """Accept the reader and run ``target`` to its end, or until the line is closed or it says nothing any more."""
        self.line, _ = self.listener.accept()
        self.line.settimeout(None)
        out = out or Line([])
        life = target.run(script)
        taken = 0
        inbox = bytearray()
        with contextlib.suppress(StopIteration, ConnectionError):
            patience = next(life)
            while True:
                while taken < len(target.sent):
                    self.line.sendall(out.carry(target.sent[taken]))
                    taken += 1
                if not inbox and select.select([self.line], [], [], patience)[0]:
                    data = self.line.recv(4096)
                    if not data:
                        return
                    inbox += data
                patience = life.send(inbox.pop(0) if inbox else None)

    def close(self) -> None:
        """Close both sockets, as QEMU's end does."""
        for end in (self.line, self.listener):
            if end is not None:
                end.close()


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    """One port."""
    cable = Cable(tmp_path / "kd.sock")
    yield cable
    cable.close()


def entries(file: Path) -> list[entry.PortEntry]:
    """What stands in the reader's file."""
    return [entry.decode(line) for line in file.read_bytes().splitlines()]


def run(
    cable: Cable, reader: PortReader, target: Target, script: list[Do], deadline: Deadline, **line: Line
) -> None:
    """Run ``script`` with ``reader`` on the other end, and close both."""
    thread = threading.Thread(target=cable.live, args=(target, script), kwargs=line, daemon=True)
    thread.start()
    reader.start(deadline)
    thread.join(20)
    assert not thread.is_alive()
    reader.close(deadline)


def test_every_line_of_the_driver_becomes_a_record(cable: Cable, tmp_path: Path, deadline: Deadline) -> None:
    """Driver lines come out as records in order, through the follower; other text is counted and kept."""
    script = [Do("print", n % 4, encode_line(mark(n))) for n in range(1, 200)]
    script.insert(50, Do("print", 1, b"another driver, no end of line"))
    script.insert(120, Do("print", 1, b"a whole line of another\n"))
    reader, target, log = PortReader(cable.path, tmp_path / "dbgprint.jsonl"), Target(), PortLog()
    got: list[tuple[int, Record]] = []
    follower = Follower()
    follower.add(reader.file, lambda data: got.extend(log.feed(data)))
    follower.start()
    began = time.monotonic_ns()
    run(cable, reader, target, script, deadline)
    follower.close()
    log.finish()
    records = [record for _, record in got]
    assert [f"{n}" for n in range(1, 200)] == [
        str(record.seq) for record in records if isinstance(record, Mark)
    ]
    assert {"dbgprint"} == {record.channel for record in records if isinstance(record, Mark)}
    assert [GuestEvent(event="kd", detail="the target began a conversation with the debugger")] == records[:1]
    assert all(began <= at <= time.monotonic_ns() for at, _ in got)
    account = log.account(closed=True)
    assert (199, 2, 0, 0, 0) == (
        account.records,
        account.foreign,
        account.torn,
        account.corrupt,
        account.lost,
    )
    assert log.account_of_reader is not None
    assert Counts(packets=202) == log.account_of_reader.counts
    assert target.done


def test_recording_as_the_page_says(cable: Cable, tmp_path: Path, deadline: Deadline) -> None:
    """The example of docs/dbgprint.md puts the driver's lines into the history with the time at which they came."""
    page = Path(__file__).resolve().parents[3] / "docs" / "dbgprint.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, str(page), "exec"), names)
    target, script = Target(), [Do("print", 0, encode_line(mark(n))) for n in (1, 2)]
    thread = threading.Thread(target=cable.live, args=(target, script), daemon=True)
    thread.start()
    began = time.monotonic_ns()
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        follower = Follower()
        reader, log = names["follow"](tmp_path, cable.path, writer, follower, deadline)
        thread.join(20)
        reader.close(deadline)
        ended = time.monotonic_ns()
        follower.drain()
        follower.close()
        log.finish()
        writer.write(log.account(closed=True))
    lines = [msgspec.json.decode(line) for line in writer.path.read_bytes().splitlines()]
    assert ["guest", "mark", "mark", "channel"] == [line["k"] for line in lines]
    assert all(began <= line["host_ns"] <= ended for line in lines[:3])


@pytest.mark.parametrize("seed", range(2))
def test_bad_line_over_a_real_socket(cable: Cable, tmp_path: Path, deadline: Deadline, seed: int) -> None:
    """Lost, repeated, damaged, cut and joined packets cost no print, and the target ends up running."""
    script = [Do("print", n % 2, b"text %d\n" % n, idle=n) for n in range(20)]
    script[7] = Do("boot", text=b"c" * 20)
    script[13] = Do("prompt", 0, b"ignore? ")
    kinds = ["lose", "repeat", "damage", "cut", "hold", "noise"]
    faults = [Fault(kinds[(n + seed) % 6], 2 + 3 * n, 131 * n + seed) for n in range(5)]
    reader, target = PortReader(cable.path, tmp_path / "dbgprint.jsonl"), Target(timeout=0.2)
    run(cable, reader, target, script, deadline, out=Line(faults))
    came = [e.what.text.encode() for e in entries(reader.file) if isinstance(e.what, Print)]
    assert target.done
    assert not target.broken_in
    assert target.acknowledged == came
    assert [b"i"] == target.answers


def test_bug_check_ends_in_a_crash_record(cable: Cable, tmp_path: Path, deadline: Deadline) -> None:
    """An exception becomes a console record of a crash with the bug check's code, and the target stays stopped."""
    script = [Do("print", 1, b"*** Fatal System Error: 0x0000003e\n (0x1,0x2,0x3,0x4)\n"), Do("stop", 1)]
    reader, target, log = PortReader(cable.path, tmp_path / "dbgprint.jsonl"), Target(), PortLog()
    thread = threading.Thread(target=cable.live, args=(target, script), daemon=True)
    thread.start()
    reader.start(deadline)
    deadline.poll(lambda: b'"stop"' in reader.file.read_bytes())
    assert target.frozen
    reader.close(deadline)
    thread.join(10)
    records = [record for _, record in log.feed(reader.file.read_bytes())]
    text = (
        "bug check 0x0000003e (0x1,0x2,0x3,0x4) at 0xfffff80055550000 on processor 1: stopped in the debugger"
    )
    assert [Console(text=text, severity="crash")] == [r for r in records if isinstance(r, Console)]
    assert isinstance(log.stop, Stop)
    assert target.frozen


def test_prompt_becomes_a_warning(cable: Cable, tmp_path: Path, deadline: Deadline) -> None:
    """What the guest asked the debugger, and what it was told, is on record."""
    reader, target, log = PortReader(cable.path, tmp_path / "dbgprint.jsonl"), Target(), PortLog()
    run(cable, reader, target, [Do("prompt", 0, b"Ignore\x1b? ")], deadline)
    records = [record for _, record in log.feed(reader.file.read_bytes())]
    assert Console(text="asked the debugger 'Ignore\\x1b?', answered 'i'", severity="warning") == records[-1]


def test_slow_harness_does_not_stall_the_target(cable: Cable, tmp_path: Path, deadline: Deadline) -> None:
    """While the whole harness is stopped, its reader goes on acknowledging."""
    program = (
        "import sys,time\nfrom pathlib import Path\nfrom harness.capture.dbgprint.reader import PortReader\n"
        "from harness.deadline import Deadline\n"
        "r = PortReader(Path(sys.argv[1]), Path(sys.argv[2])); r.start(Deadline(20, 'x')); print(r.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    file = tmp_path / "dbgprint.jsonl"
    target = Target()
    thread = threading.Thread(
        target=cable.live, args=(target, [Do("print", 0, b"%d\n" % n) for n in range(100)]), daemon=True
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(cable.path), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as harness:
        # Nothing is acknowledged before the port is accepted, which happens only once the harness is stopped.
        assert harness.stdout is not None
        pid = int(harness.stdout.readline())
        harness.send_signal(signal.SIGSTOP)
        thread.start()
        thread.join(20)
        assert target.done
        reader = psutil.Process(pid)
        harness.kill()
        harness.send_signal(signal.SIGCONT)
        reader.wait(10)
    assert 100 == len(target.acknowledged)
    assert "asked to" in file.read_text().splitlines()[-1] or "closed" in file.read_text().splitlines()[-1]


def test_reader_ends_with_the_harness_and_not_with_ctrl_c(
    cable: Cable, tmp_path: Path, deadline: Deadline
) -> None:
    """SIGINT is the harness's to handle; letting go of the leash ends the process with an account."""
    reader = PortReader(cable.path, tmp_path / "dbgprint.jsonl")
    reader.start(deadline)
    os.kill(reader.pid, signal.SIGINT)
    process = psutil.Process(reader.pid)
    assert process.is_running()
    reader.close(deadline)
    assert not psutil.pid_exists(process.pid)
    assert "asked to" == entries(reader.file)[-1].what.why  # type: ignore[union-attr]


def test_closed_port_ends_the_reader(cable: Cable, tmp_path: Path, deadline: Deadline) -> None:
    """When QEMU ends, its reader ends by itself."""
    reader = PortReader(cable.path, tmp_path / "dbgprint.jsonl")
    reader.start(deadline)
    line, _ = cable.listener.accept()
    line.close()
    psutil.Process(reader.pid).wait(10)
    assert "the port was closed" == entries(reader.file)[-1].what.why  # type: ignore[union-attr]
    reader.close(deadline)


def test_nobody_listens(tmp_path: Path, deadline: Deadline) -> None:
    """A port that is not there is one clear error."""
    with pytest.raises(InfrastructureError, match=r"cannot serve .*No such file") as caught:
        PortReader(tmp_path / "none.sock", tmp_path / "dbgprint.jsonl").start(deadline)
    assert "listening unix socket" in caught.value.hint


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    """A run directory that is gone is told before anything is started."""
    with pytest.raises(InfrastructureError, match="cannot write"):
        PortReader(tmp_path / "kd.sock", tmp_path / "gone" / "dbgprint.jsonl")


def test_full_file_drops_and_counts(tmp_path: Path) -> None:
    """Once the file has its size, events are counted only; the account is written all the same."""
    file = tmp_path / "dbgprint.jsonl"
    journal = PortJournal(file, most=200)
    for number in range(10):
        journal.write([Print(processor=0, text=f"text {number}")])
    kept = len(entries(file))
    assert 0 < kept < 10
    assert 10 - kept == journal.dropped
    journal.write([entry.ReaderAccount(counts=Counts(), dropped=journal.dropped)])
    log = PortLog()
    list(log.feed(file.read_bytes()))
    assert 10 - kept == log.account().lost


def test_full_disk_is_not_fatal() -> None:
    """A disk without room costs events, which are counted, and nothing else."""
    journal = PortJournal(Path("/dev/full"))
    journal.write([Began(), Print(processor=0, text="x")])
    assert 2 == journal.dropped


def test_damaged_file_is_read_as_far_as_it_goes() -> None:
    """Lines that are none, or endless, are counted; those around them are read."""
    log = PortLog()
    good = entry.encode(entry.PortEntry(5, Print(processor=0, text=encode_line(mark(1)).decode()))) + b"\n"
    data = b"{\n" + good + b"\xff\xfe\n" + b"x" * 200_000 + b"\n" + good
    got = [item for at in range(0, len(data), 1000) for item in log.feed(data[at : at + 1000])]
    assert [5, 5] == [at for at, _ in got]
    assert log.account().torn >= 3


class TestBridge:
    """The port handed to a real debugger."""

    @pytest.fixture
    def reader(self, cable: Cable, tmp_path: Path, deadline: Deadline) -> Iterator[PortReader]:
        """A reader that hands its port over."""
        with PortReader(cable.path, tmp_path / "dbgprint.jsonl", bridge=True) as reader:
            reader.start(deadline)
            yield reader

    @pytest.fixture
    def line(self, cable: Cable, reader: PortReader) -> socket.socket:
        """QEMU's end."""
        cable.line, _ = cable.listener.accept()
        cable.line.settimeout(10)
        return cable.line

    def connect(self, reader: PortReader) -> socket.socket:
        """A debugger."""
        return socket.create_connection(("127.0.0.1", reader.port), timeout=10)

    def talk(self, client: socket.socket, line: socket.socket) -> None:
        """Say something to the guest, and hear its answer: whoever is admitted first is heard."""
        client.sendall(b"b")
        assert b"b" == line.recv(10)

    def test_bytes_pass_both_ways_untouched(self, reader: PortReader, line: socket.socket) -> None:
        """Every byte value passes, break-in too, and far more than any buffer holds."""
        client = self.connect(reader)
        self.talk(client, line)
        much = bytes(range(256)) * 8000
        sender = threading.Thread(target=line.sendall, args=(much,), daemon=True)
        sender.start()
        got = bytearray()
        while len(got) < len(much):
            got += client.recv(1 << 16)
        assert much == bytes(got)
        sender = threading.Thread(target=client.sendall, args=(much,), daemon=True)
        sender.start()
        got = bytearray()
        while len(got) < len(much):
            got += line.recv(1 << 16)
        assert much == bytes(got)

    def test_one_debugger_at_a_time(self, reader: PortReader, line: socket.socket) -> None:
        """A second is shown out; when the first is gone the next is let in."""
        first = self.connect(reader)
        self.talk(first, line)
        second = self.connect(reader)
        assert b"" == second.recv(10)
        first.close()
        # Nothing tells when the first one's end was seen, so knock until let in.
        deadline = Deadline(10, "next debugger")

        def knock() -> bool:
            client = self.connect(reader)
            client.settimeout(0.2)
            try:
                if client.recv(10) == b"":
                    return False
            except TimeoutError:
                self.talk(client, line)
            return True

        deadline.poll(knock)

    def test_guest_without_a_debugger_is_not_held_up(self, reader: PortReader, line: socket.socket) -> None:
        """While nobody is connected the guest's bytes go nowhere, and it may go on writing."""
        line.sendall(b"x" * (4 << 20))
        client = self.connect(reader)
        self.talk(client, line)
        line.sendall(b"y")
        while (data := client.recv(1 << 16)).strip(b"x") == b"":
            pass
        assert data.endswith(b"y")

    def test_only_loopback_listens(self, reader: PortReader) -> None:
        """The port is bound to 127.0.0.1 and chosen by the kernel."""
        listening = [
            c.laddr for c in psutil.Process(reader.pid).net_connections("tcp") if c.status == "LISTEN"
        ]
        assert [("127.0.0.1", reader.port)] == [tuple(address) for address in listening]
