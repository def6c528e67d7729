# SPDX-License-Identifier: MIT
"""The exchange: what is sent comes back byte for byte, cut transfers go on, and hostile content is refused."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from part_markers import needs
from small_disk import small_disk
from transport.servers import SshServer

from harness.errors import HarnessError, InfrastructureError
from harness.fleet.order import AttemptReport, CellOrder, HostQuestion, Order, decode, encode
from harness.fleet.results_place import NOTE, PIECE, Note, ResultsPlace, unpack

REPORT = AttemptReport(attempt="a-1", cell="c", digest="d", host="h")


def made(place: Path, size: int) -> Path:
    """Make an attempt's folder with one run of so many random bytes."""
    run = place / "work" / "runs" / "r"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "console.log").write_bytes(os.urandom(size))
    (run / "link").symlink_to("/etc/passwd")
    return place / "work"


def content(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, by name."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.is_symlink()
    }


def test_what_is_sent_comes_back(tmp_path: Path) -> None:
    """Files are the same, links stay behind, nothing temporary is left, and what was received is forgotten."""
    work = made(tmp_path, 3 * PIECE + 5)
    exchange = ResultsPlace(f"file://{tmp_path / 'results'}")
    exchange.check()
    exchange.send("n", REPORT, work, ["runs", "output"])
    assert ["a-1"] == exchange.attempts("n")
    arrived = exchange.receive("n", exchange.note("n", "a-1"), tmp_path / "in")
    assert content(work) == content(arrived)
    assert [arrived] == list((tmp_path / "in").iterdir())
    exchange.forget("n", "a-1")
    assert [] == exchange.attempts("n")


def test_a_cut_sending_goes_on(tmp_path: Path) -> None:
    """Without its note an attempt was never sent; sent again, whole pieces are not written a second time."""
    work = made(tmp_path, 3 * PIECE)
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


def test_a_cut_reception_goes_on(tmp_path: Path) -> None:
    """A piece that is here already is not fetched again: it may even be gone."""
    work = made(tmp_path, 3 * PIECE)
    exchange = ResultsPlace(f"file://{tmp_path / 'results'}")
    exchange.send("n", REPORT, work, ["runs"])
    note = exchange.note("n", "a-1")
    pieces = sorted((tmp_path / "results" / "n" / "a-1").glob("0*"))
    held = pieces[2].read_bytes()
    pieces[2].unlink()
    with pytest.raises(InfrastructureError, match="cannot be read"):
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
    with pytest.raises(InfrastructureError, match="does not have the digest"):
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
    with pytest.raises(OSError, match=r"leads outside|neither|damaged"):
        unpack(io.BytesIO(make()), tmp_path / "new", limit=1 << 20)
    assert not (tmp_path / "evil").exists()
    assert [] == list((tmp_path / "new").iterdir())


def test_an_archive_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    """It cannot fill the disk."""
    with pytest.raises(OSError, match="larger than its note says"):
        unpack(io.BytesIO(_name("evil")()), tmp_path / "new", limit=3)


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
    with pytest.raises(InfrastructureError, match=r"damaged|announces more"):
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
def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, SshServer]]:
    """The address of a folder on an SFTP server, and the server, which the user has a key for."""
    (tmp_path / "ssh").mkdir()
    server = SshServer(tmp_path / "ssh")
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    (home / "id_ed25519").write_bytes(server.key.read_bytes())
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield f"sftp://127.0.0.1:{server.port}{tmp_path / 'results'}", server
    server.stop()


@pytest.mark.remote
def test_an_unknown_sftp_server_is_refused(sftp: tuple[str, SshServer]) -> None:
    """Its key must be known before anything is sent."""
    url, _ = sftp
    with pytest.raises(InfrastructureError, match="not found in known_hosts"):
        ResultsPlace(url)


@pytest.mark.remote
def test_run_directories_come_back_by_sftp(sftp: tuple[str, SshServer], tmp_path: Path) -> None:
    """Cut in the middle, sent again from another connection, received and forgotten."""
    url, server = sftp
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    work = made(tmp_path, 3 * PIECE)
    ResultsPlace(url).check()
    server.cut_after = PIECE + PIECE // 2
    with pytest.raises(InfrastructureError, match="cannot be written to"):
        ResultsPlace(url).send("n", REPORT, work, ["runs"])
    exchange = ResultsPlace(url)
    assert [] == exchange.attempts("n")
    exchange.send("n", REPORT, work, ["runs"])
    assert content(work) == content(exchange.receive("n", exchange.note("n", "a-1"), tmp_path / "in"))
    exchange.forget("n", "a-1")
    assert [] == exchange.attempts("n")


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
