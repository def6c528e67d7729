# SPDX-License-Identifier: MIT
"""The exchange: what is sent comes back byte for byte, cut transfers go on, and hostile content is refused."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from part_markers import needs
from small_disk import small_disk
from transport.servers import SshServer

from harness.errors import HarnessError, InfrastructureError
from harness.fleet import results_place, sftp
from harness.fleet.order import (
    NAME,
    AttemptReport,
    CellOrder,
    HostQuestion,
    Order,
    check_report,
    decode,
    encode,
)
from harness.fleet.results_place import NOTE, PIECE, DamagedAttempt, Note, ResultsPlace, unpack
from harness.fleet.worker_service import WorkerService
from harness.interrupts import Interrupted
from harness.lab.matrix import Cell
from harness.lab.nightly_state import CellOutcome
from harness.run.failure import BootFailure

REPORT = AttemptReport(attempt="a-1", cell="c", digest="d", host="h")


def made(place: Path, size: int) -> Path:
    """Make an attempt's folder with one run of so many random bytes."""
    run = place / "work" / "runs" / "r"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "console.log").write_bytes(os.urandom(size))
    (run / "link").symlink_to("/etc/passwd")
    return place / "work"


SMALL = 1 << 16
"""A piece in tests that have several of them. One of usual size is compressed, sent and compared for 20 ms."""


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pieces small."""
    monkeypatch.setattr(results_place, "PIECE", SMALL)


def content(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, by name."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.is_symlink()
    }


def test_what_is_sent_comes_back(tmp_path: Path) -> None:
    """Files are the same, links stay behind, nothing temporary is left, and what was received is forgotten."""
    work = made(tmp_path, PIECE + 5)
    exchange = ResultsPlace(f"file://{tmp_path / 'results'}")
    exchange.check()
    exchange.send("n", REPORT, work, ["runs", "output"])
    assert ["a-1"] == exchange.attempts("n")
    arrived = exchange.receive("n", exchange.note("n", "a-1"), tmp_path / "in")
    assert content(work) == content(arrived)
    assert [arrived] == list((tmp_path / "in").iterdir())
    exchange.close("n")
    assert ["a-1"] == exchange.attempts("n")
    exchange.forget("n", "a-1")
    assert [] == exchange.attempts("n")
    exchange.close("n")
    assert [] == list((tmp_path / "results").iterdir())


@pytest.mark.usefixtures("small_pieces")
def test_a_cut_sending_goes_on(tmp_path: Path) -> None:
    """Without its note an attempt was never sent; sent again, whole pieces are not written a second time."""
    work = made(tmp_path, 3 * SMALL)
    exchange = ResultsPlace(f"file://{tmp_path / 'results'}")
    exchange.send("n", REPORT, work, ["runs"])
    place = tmp_path / "results" / "n" / "a-1"
    (place / NOTE).unlink()
    first, second, *_ = sorted(place.glob("0*"))
    second.unlink()
    before = first.stat().st_mtime_ns
    assert [] == exchange.attempts("n")
    exchange.send("n", REPORT, work, ["runs"])
    arrived = exchange.receive("n", exchange.note("n", "a-1"), tmp_path / "in")
    assert [before, content(work)] == [first.stat().st_mtime_ns, content(arrived)]


@pytest.mark.usefixtures("small_pieces")
def test_a_cut_reception_goes_on(tmp_path: Path) -> None:
    """A piece that is here already is not fetched again: it may even be gone."""
    work = made(tmp_path, 3 * SMALL)
    exchange = ResultsPlace(f"file://{tmp_path / 'results'}")
    exchange.send("n", REPORT, work, ["runs"])
    note = exchange.note("n", "a-1")
    pieces = sorted((tmp_path / "results" / "n" / "a-1").glob("0*"))
    held = pieces[2].read_bytes()
    pieces[2].unlink()
    with pytest.raises(DamagedAttempt, match="piece 2 of a-1 is not in"):
        exchange.receive("n", note, tmp_path / "in")
    pieces[2].write_bytes(held)
    pieces[0].unlink()
    assert content(work) == content(exchange.receive("n", note, tmp_path / "in"))


def test_a_damaged_piece_is_refused(tmp_path: Path) -> None:
    """Its digest is another one, and nothing gets its final name."""
    work = made(tmp_path, PIECE)
    exchange = ResultsPlace(f"file://{tmp_path / 'results'}")
    exchange.send("n", REPORT, work, ["runs"])
    piece = min((tmp_path / "results" / "n" / "a-1").glob("0*"))
    piece.write_bytes(b"x" * piece.stat().st_size)
    with pytest.raises(DamagedAttempt, match="does not have the digest"):
        exchange.receive("n", exchange.note("n", "a-1"), tmp_path / "in")
    assert not (tmp_path / "in" / "a-1").exists()


@pytest.mark.root
def test_a_full_disk_on_either_side_loses_nothing(tmp_path: Path) -> None:
    """Sending and receiving fail in words, and succeed when there is room."""
    work = made(tmp_path, 3 * PIECE)
    with small_disk(tmp_path / "small", size=str(2 * PIECE)) as small:
        with pytest.raises(InfrastructureError, match="No space left"):
            ResultsPlace(f"file://{small}/results").send("n", REPORT, work, ["runs"])
        exchange = ResultsPlace(f"file://{tmp_path / 'results'}")
        exchange.send("n", REPORT, work, ["runs"])
        with pytest.raises(InfrastructureError, match="No space left"):
            exchange.receive("n", exchange.note("n", "a-1"), small / "in")
    assert content(work) == content(exchange.receive("n", exchange.note("n", "a-1"), tmp_path / "in"))


def _name(name: str, kind: bytes = tarfile.REGTYPE) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "/etc/passwd"
            member.size = 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"evil") if kind == tarfile.REGTYPE else None)
        return buffer.getvalue()

    return make


@pytest.mark.parametrize(
    "make",
    [
        _name("../evil"), _name("/evil"), _name("a/../../evil"), _name("evil", tarfile.SYMTYPE), _name("evil", tarfile.LNKTYPE),
        _name("evil", tarfile.FIFOTYPE), _name("evil", tarfile.CHRTYPE), lambda: b"not an archive" * 100,
    ],
    ids=["above", "absolute", "through", "symlink", "hard link", "fifo", "device", "nonsense"],
)  # fmt: skip
def test_hostile_archives_are_refused(tmp_path: Path, make: Callable[[], bytes]) -> None:
    """Nothing is written outside of the folder."""
    with pytest.raises(DamagedAttempt, match=r"leads outside|neither|damaged"):
        unpack(io.BytesIO(make()), tmp_path / "new", limit=1 << 20)
    assert not (tmp_path / "evil").exists()
    assert [] == list((tmp_path / "new").iterdir())


def test_an_archive_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    """It cannot fill the disk."""
    with pytest.raises(DamagedAttempt, match="larger than its note says"):
        unpack(io.BytesIO(_name("evil")()), tmp_path / "new", limit=3)


def test_an_archive_of_endless_names_is_refused(tmp_path: Path) -> None:
    """Neither more files than a run has, nor a header that fills the memory, of a file that takes no room itself."""
    many = io.BytesIO()
    with tarfile.open(fileobj=many, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(3):
            tar.addfile(tarfile.TarInfo(f"runs/{number}"))
    many.seek(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_place, "MOST_FILES", 2)
        with pytest.raises(DamagedAttempt, match="too many files"):
            unpack(many, tmp_path / "many", limit=1 << 20)
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    endless = tmp_path / "endless.tar"
    with endless.open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(1 << 40)
    with endless.open("rb") as file, pytest.raises(DamagedAttempt, match="header"):
        unpack(file, tmp_path / "endless", limit=1 << 50)


def test_what_a_cut_reception_unpacked_is_removed(tmp_path: Path) -> None:
    """A process that was killed while it unpacked leaves nothing for ever."""
    work = made(tmp_path, 5)
    exchange = ResultsPlace(f"file://{tmp_path / 'results'}")
    exchange.send("n", REPORT, work, ["runs"])
    (tmp_path / "in" / "a-1.new" / "runs").mkdir(parents=True)
    arrived = exchange.receive("n", exchange.note("n", "a-1"), tmp_path / "in")
    assert [[arrived], content(work)] == [list((tmp_path / "in").iterdir()), content(arrived)]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[" * 100_000, msgspec.json.encode(Note(report=msgspec.structs.replace(REPORT, attempt="other"), pieces=[])),
        b'{"report":{"attempt":"a-1","cell":"c","digest":"d","host":"h"},"pieces":[[1,"../../etc/passwd"]]}',
        b'{"report":{"attempt":"a-1","cell":"c","digest":"d","host":"h"},"pieces":[[99999999999,"' + b"a" * 64 + b'"]]}',
    ],
    ids=["empty", "nothing", "deep", "another attempt", "path", "huge"],
)  # fmt: skip
def test_hostile_notes_are_refused(tmp_path: Path, data: bytes) -> None:
    """A note names pieces by their digests, of no more than a piece's size."""
    place = tmp_path / "results" / "n" / "a-1"
    place.mkdir(parents=True)
    (place / NOTE).write_bytes(data)
    with pytest.raises(DamagedAttempt, match=r"damaged|announces more"):
        ResultsPlace(f"file://{tmp_path / 'results'}").note("n", "a-1")


def test_an_unreachable_exchange_is_said_in_words(tmp_path: Path) -> None:
    """The address and the system's words, and that nothing is lost."""
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="cannot be used") as caught:
        ResultsPlace(f"file://{tmp_path / 'file' / 'results'}").check()
    assert "Nothing is lost" in caught.value.hint


def test_an_unknown_kind_of_exchange_is_refused() -> None:
    """With what fsspec says."""
    with pytest.raises(HarnessError, match="nosuch"):
        ResultsPlace("nosuch://lab/results")


@pytest.fixture
@needs("remote")
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, SshServer]]:
    """The address of a folder on an SFTP server, and the server, which the user has a key for."""
    (tmp_path / "ssh").mkdir()
    ssh = SshServer(tmp_path / "ssh")
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    (home / "id_ed25519").write_bytes(ssh.key.read_bytes())
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield f"sftp://127.0.0.1:{ssh.port}{tmp_path / 'results'}", ssh
    ssh.stop()


@pytest.mark.remote
def test_an_unknown_sftp_server_is_refused(server: tuple[str, SshServer]) -> None:
    """Its key must be known before anything is sent."""
    url, _ = server
    with pytest.raises(InfrastructureError, match="not found in known_hosts"):
        ResultsPlace(url)


@pytest.mark.remote
def test_run_directories_come_back_by_sftp(server: tuple[str, SshServer], tmp_path: Path) -> None:
    """Cut in the middle, sent again from another connection, received and forgotten."""
    url, ssh = server
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{ssh.port} {ssh.host_key}\n")
    work = made(tmp_path, 3 * PIECE)
    ResultsPlace(url).check()
    ssh.cut_after = PIECE + PIECE // 2
    with pytest.raises(InfrastructureError, match="cannot be written to"):
        ResultsPlace(url).send("n", REPORT, work, ["runs"])
    exchange = ResultsPlace(url)
    assert [] == exchange.attempts("n")
    exchange.send("n", REPORT, work, ["runs"])
    assert content(work) == content(exchange.receive("n", exchange.note("n", "a-1"), tmp_path / "in"))
    exchange.forget("n", "a-1")
    assert [] == exchange.attempts("n")


@pytest.mark.remote
def test_a_signal_while_sftp_answers_is_not_lost(
    server: tuple[str, SshServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends what is done, whether the folder of the exchange is there or not."""
    url, ssh = server
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{ssh.port} {ssh.host_key}\n")
    exchange = ResultsPlace(url)
    exchange.check()

    def interrupted(_: str) -> None:
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(exchange._files.ftp, "stat", interrupted)
    with pytest.raises(Interrupted):
        exchange.check()
    with pytest.raises(Interrupted):
        exchange.attempts("n")


@pytest.mark.remote
def test_a_silent_sftp_server_is_given_up(
    server: tuple[str, SshServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose host is cut off says nothing and closes nothing."""
    url, ssh = server
    monkeypatch.setattr(sftp, "SILENT_S", 0.5)
    passing = threading.Event()
    passing.set()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=relay, args=(listener, ssh.port, passing), daemon=True).start()
    port = listener.getsockname()[1]
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {ssh.host_key}\n")
    exchange = ResultsPlace(url.replace(f":{ssh.port}/", f":{port}/"))
    exchange.check()
    passing.clear()
    with pytest.raises(InfrastructureError, match="cannot be used"):
        exchange.check()
    passing.set()
    listener.close()


def relay(listener: socket.socket, port: int, passing: threading.Event) -> None:
    """Pass one connection on to a port of this host, as long as ``passing`` is set."""
    client, _ = listener.accept()
    there = socket.create_connection(("127.0.0.1", port))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                passing.wait()
                sink.sendall(data)

    threading.Thread(target=pump, args=(there, client), daemon=True).start()
    pump(client, there)


@pytest.mark.parametrize("text", ["", "{}", "[" * 1000, '{"type":"cell"}', 7, "x" * (17 << 20)])
def test_what_is_not_an_order_is_refused(text: object) -> None:
    """Whatever came, in words."""
    with pytest.raises(InfrastructureError, match="sent an invalid message"):
        decode(text, Order, whose="the scheduler")


def test_an_order_is_read_as_it_was_written() -> None:
    """Both kinds."""
    question = HostQuestion(machines={}, results="file:///x")
    assert question == decode(encode(question), Order, whose="x")
    assert hashlib.sha256(encode(question).encode()).digest()
    assert CellOrder in Order.__args__


CELL = Cell(guest="twin", qemu="q", topology="t", plan="veto", repetition=1, seed=1)
OUTCOME = CellOutcome(
    cell=CELL.id, state="done", verdict="holds", runs=["/work/a-1/runs/20261129-1"],
    boot=BootFailure(guest="twin", machine=CELL.machine, stage="boot", message="m", failure_class="guest hang", run="r"),
)  # fmt: skip


def reported(outcome: CellOutcome | None = OUTCOME, **more: str) -> AttemptReport:
    """Return a report about an attempt at the cell."""
    said = {"attempt": "a-1", "cell": CELL.id, "digest": "d", "host": "h", **more}
    return AttemptReport(outcome=outcome, **said)


def test_a_report_of_a_run_is_taken() -> None:
    """With and without an outcome."""
    check_report(reported(), "a-1", CELL)
    check_report(reported(None), "a-1", CELL)


@pytest.mark.parametrize(
    "report",
    [
        reported(attempt="a-2"),
        reported(cell="twin.q.t.veto.2"),
        *(
            reported(msgspec.structs.replace(OUTCOME, **changed))
            for changed in (
                {"cell": "twin.q.t.veto.2"},
                {"runs": ["/work/runs/.."]},
                {"runs": ["/work/runs/-rf"]},
                {"runs": ["r"] * 9},
                {"verdict": "great"},
                {"failure_class": "x" * 2000},
                {"reason": "x" * (2 << 20)},
                {"exit_code": 1 << 40},
                {"seconds": -1.0},
                {"boot": msgspec.structs.replace(OUTCOME.boot, guest="host")},  # type: ignore[type-var]
                {"boot": msgspec.structs.replace(OUTCOME.boot, run="../x")},  # type: ignore[type-var]
                {"boot": msgspec.structs.replace(OUTCOME.boot, message="x" * (2 << 20))},  # type: ignore[type-var]
            )
        ),
    ],
)  # fmt: skip
def test_a_report_that_would_spoil_the_state_is_refused(report: AttemptReport) -> None:
    """That of another cell, a name that leads elsewhere, a line that hides those behind it, a boot of another guest."""
    with pytest.raises(InfrastructureError, match="the report about a-1"):
        check_report(report, "a-1", CELL)


def order(work: Path, name: str, results: str, plan: str = "veto") -> CellOrder:
    """Leave an attempt in a worker's folder, as a worker that was killed does."""
    left = CellOrder(
        attempt=name, nightly="n", digest="d", session="s", cell=msgspec.structs.replace(CELL, plan=plan), plan="", options=[],
        seconds=1, results=results,
    )  # fmt: skip
    if NAME.fullmatch(name):
        (work / name / "runs" / "r").mkdir(parents=True)
        (work / name / "order.json").write_bytes(msgspec.json.encode(left))
    return left


@pytest.mark.parametrize(("attempt", "plan"), [("../evil", "veto"), ("a-1", "../../evil")])
def test_an_order_whose_name_leads_elsewhere_is_refused(tmp_path: Path, attempt: str, plan: str) -> None:
    """Nothing is written."""
    (tmp_path / "work").mkdir()
    told = order(tmp_path / "elsewhere", attempt, "file:///nosuch", plan)
    report = WorkerService(tmp_path / "work", host="h", session="s").run(told, lambda: True)
    assert "leads outside its folder" in report.refused
    assert [] == list((tmp_path / "work").iterdir())


def test_an_order_is_executed_once_and_for_one_start_of_the_worker(tmp_path: Path) -> None:
    """One that was made, one for an earlier start, and one that comes while the worker ends are refused."""
    told = order(tmp_path / "work", "a-1", "file:///nosuch")
    fresh = msgspec.structs.replace(told, attempt="a-2")
    worker, later = (WorkerService(tmp_path / "work", host="h", session=name) for name in ("s", "t"))
    reports = [worker.run(told, lambda: True), later.run(fresh, lambda: True)]
    worker.drain()
    reports.append(worker.run(fresh, lambda: True))
    assert [
        "the attempt was already made", "the order is for an earlier start of this worker", "the worker is ending",
    ] == [report.refused for report in reports]  # fmt: skip
    assert ["a-1"] == [folder.name for folder in (tmp_path / "work").iterdir()]


def test_an_exchange_that_cannot_be_reached_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many attempts are for it; those for another one are sent."""
    (tmp_path / "file").touch()
    for name in ("a-1", "a-2", "a-3"):
        order(tmp_path / "work", name, f"file://{tmp_path / 'file' / 'results'}")
    order(tmp_path / "work", "a-4", f"file://{tmp_path / 'results'}")
    tried: list[str] = []
    check = ResultsPlace.check
    monkeypatch.setattr(ResultsPlace, "check", lambda self: (tried.append(self.url), check(self))[1])
    left = WorkerService(tmp_path / "work", host="h", session="s").send_left()
    assert [3, 2] == [len(left), len(tried)]
    assert ["a-1", "a-2", "a-3"] == sorted(folder.name for folder in (tmp_path / "work").iterdir())


def test_damaged_order_is_named_and_the_others_are_sent(tmp_path: Path) -> None:
    """The order of an attempt that was left may be any bytes: the worker starts all the same."""
    for name in ("a-1", "a-2"):
        order(tmp_path / "work", name, f"file://{tmp_path / 'results'}")
    (tmp_path / "work" / "a-1" / "order.json").write_bytes(b"\xff{")
    (left,) = WorkerService(tmp_path / "work", host="h", session="s").send_left()
    assert left.startswith("a-1: ")
    assert ["a-1"] == [folder.name for folder in (tmp_path / "work").iterdir()]
