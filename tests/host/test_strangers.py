# SPDX-License-Identifier: MIT
"""A second user of the host who means harm: nobody is stopped, no lease is taken, and ps and gc go on working."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.deadline import Deadline
from harness.errors import ExitCode, InfrastructureError
from harness.host import former_leases, lease_file
from harness.host.budget import HostBudget, ResourceRequest
from harness.host.lease import Leases, take_lease
from harness.host.lease_directory import LeaseDirectory, lease_directory
from harness.host.reservations import Reservations

pytestmark = pytest.mark.root

GIB = 1 << 30
TEN = HostBudget(vcpus=10, memory=10 * GIB, disk=10 * GIB)

BECOME = """
import contextlib, fcntl, io, os, socket, struct, sys
from pathlib import Path
from harness.cli.main import main
from harness.deadline import Deadline
from harness.host import lease_file
from harness.host.budget import HostBudget, ResourceRequest
from harness.host.lease import Leases
place = Path(sys.argv[1])
with contextlib.redirect_stdout(io.StringIO()):
    main(["gc", "--dry-run"])
# Only now, with everything imported: where Python is may be private.
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
budget = HostBudget(vcpus=10, memory=10 << 30, disk=10 << 30)

def take(vcpus, seconds=60):
    return Leases(place).take(ResourceRequest(vcpus=vcpus, memory=1 << 30), budget, Deadline(seconds, "hold"))

def refused(act):
    try:
        act()
    except PermissionError:
        return
    raise SystemExit("it was not refused")
"""


def request(vcpus: int) -> ResourceRequest:
    return ResourceRequest(vcpus=vcpus, memory=0)


def soon() -> Deadline:
    return Deadline(60, "test")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of leases as an administrator makes it, where the environment of all users says it is."""
    # Nobody may not go into pytest's own directories.
    base = Path(tempfile.mkdtemp(prefix="hh-"))
    base.chmod(0o755)
    place = base / "leases"
    place.mkdir()
    place.chmod(0o1777)
    monkeypatch.setenv("HOTPLUG_HARNESS_LEASES", str(place))
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(base / "cache"))
    monkeypatch.setattr(former_leases, "FORMER", ())
    try:
        yield place
    finally:
        shutil.rmtree(base)


@pytest.fixture(scope="module")
def uid() -> int:
    """The number of another user."""
    return pwd.getpwnam("nobody").pw_uid


def as_stranger(code: str, place: Path, uid: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` to its end as the other user."""
    return subprocess.run(
        [sys.executable, "-c", BECOME + code, str(place), str(uid)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@contextlib.contextmanager
def stranger(code: str, place: Path, uid: int) -> Iterator[subprocess.Popen[str]]:
    """Run ``code`` as the other user, and leave that process alone until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{BECOME}{code}\nprint('done', flush=True)\nsys.stdin.read()", place, str(uid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "done\n" == process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_users_share_one_budget(shared: Path, uid: int) -> None:
    """Two users wait for each other, whoever was first, whatever their umask, and are told who holds what."""
    before = os.umask(0o077)
    try:
        leases = Leases(shared)
        with stranger("held = take(6)", shared, uid) as theirs:
            assert [(uid, True)] == [(held.uid, held.granted) for held in leases.held()]
            mine = leases.enter(request(5), TEN, soon())
            assert leases.look(mine, TEN) is not None
            theirs.kill()
            theirs.wait()
            assert leases.look(mine, TEN) is None
        refused = as_stranger("take(6, seconds=0.2)", shared, uid)
        assert f"process {os.getpid()} of root (user 0)" in refused.stderr
        mine.release()
    finally:
        os.umask(before)


def test_no_user_takes_what_is_anothers(shared: Path, uid: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a live lease nor a dead one can be removed, renamed or written by another user; gc says whose they are."""
    leases = Leases(shared)
    with leases.take(request(3), TEN, soon()) as lease:
        dead = leases.take(request(3), TEN, soon())
        os.close(dead._descriptor)
        ended = as_stranger(
            "for name in os.listdir(place):\n"
            "    refused(lambda: os.unlink(place / name))\n"
            "    refused(lambda: os.rename(place / name, place / 'mine'))\n"
            "    refused(lambda: os.open(place / name, os.O_RDWR))\n"
            "raise SystemExit(main(['gc', '--yes']))",
            shared, uid, XDG_STATE_HOME="/nowhere", HOTPLUG_HARNESS_CACHE="/nowhere",
        )  # fmt: skip
        assert [0, ""] == [ended.returncode, ended.stderr]
        assert ended.stdout == (
            "Not this user's to remove: files of dead leases, 1 of root (user 0). They count for nothing, and go with "
            "their owner's harness gc, or root's.\nNothing is left behind.\n"
        )
        assert sorted([lease.name, dead.name]) == names(shared)


LOCK_ALL = """
kept = [os.open(place, os.O_RDONLY)]
kept += [os.open(place / name, os.O_RDONLY) for name in os.listdir(place)]
for each in kept:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(each, fcntl.LOCK_EX | fcntl.LOCK_NB)
for each in kept[1:]:
    for byte in range(3):
        with contextlib.suppress(BlockingIOError):
            fcntl.fcntl(each, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, byte, 1, 0))
"""


def test_locks_held_for_ever_stop_nobody(shared: Path, uid: int) -> None:
    """Whoever locks the directory and every file in it keeps no lease from being granted, given back or dead."""
    leases = Leases(shared)
    first, second = leases.take(request(6), TEN, soon()), leases.enter(request(6), TEN, soon())
    dead = leases.enter(request(10), TEN, soon())
    os.close(dead._descriptor)
    with stranger(LOCK_ALL, shared, uid):
        assert leases.look(second, TEN) is not None
        first.release()
        assert leases.look(second, TEN) is None
        leases.take(request(4), TEN, soon()).release()
        assert [second.name] == [held.name for held in leases.held()]
        second.release()
        leases.sweep()
        assert [] == names(shared)


NONSENSE = r"""
def claim(text):
    name, descriptor = lease_file.create(folder)
    os.pwrite(descriptor, text, 0)
    lease_file._set(descriptor, fcntl.F_UNLCK, lease_file.ENTERING)
    return descriptor

folder = os.open(place, os.O_RDONLY)
kept = [claim(b'{"x":' + b"[" * 1000), claim(b"\xff" * 100), claim(b"[" * 1000), claim(b'{"since": -1}'), claim(b"")]
os.ftruncate(claim(b"{"), 1 << 40)
os.symlink("/etc/shadow", place / f"{'a' * 16}.lease")
os.mkfifo(place / f"{'b' * 16}.lease")
(place / f"{'c' * 16}.lease").mkdir()
with socket.socket(socket.AF_UNIX) as one:
    os.chdir(place)
    one.bind(f"{'d' * 16}.lease")
Path("\x1b[31mred\n.lease").touch()
Path(os.fsdecode(b"\xff\xfe.lease")).touch()
(place / f"{'e' * 16}.lease").touch(mode=0o000)
with contextlib.suppress(PermissionError):
    # Where fs.protected_hardlinks is 0.
    os.link("/etc/hostname", place / f"{'f' * 16}.lease")
"""


def test_nonsense_stops_nobody(shared: Path, uid: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Deep JSON, no UTF-8, huge files, links, FIFOs and names with escapes: run, ps and gc go on, and root's gc mends all."""
    with stranger(NONSENSE, shared, uid):
        Leases(shared).take(request(10), TEN, soon()).release()
        assert 0 == main(["ps"])
        text = capsys.readouterr().out
        assert f" of nobody (user {uid})" in text
        assert 0 == main(["ps", "--json"])
        assert [] == json.loads(capsys.readouterr().out)["leases"]
        assert 0 == main(["gc", "--yes"])
        text += capsys.readouterr().out
        assert "\x1b" not in text
    assert 0 == main(["gc", "--yes"])
    assert [] == names(shared)
    assert Path("/etc/hostname").exists()


def test_one_who_never_says_when_it_came(shared: Path, uid: int) -> None:
    """A file that is for ever about to say its time is passed over after two seconds."""
    code = "folder = os.open(place, os.O_RDONLY)\nkept = [lease_file.create(folder) for _ in range(3)]"
    with stranger(code, shared, uid):
        Leases(shared).take(request(10), TEN, soon()).release()


def test_a_flood_of_files_is_said_and_gone_round(
    shared: Path,
    uid: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With more files than are looked at a run goes on with the user's own leases; ps names who did it, root's gc mends it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    count = lease_file.MOST_FILES + 1
    with stranger(f"for number in range({count}): (place / f'{{number:016x}}.lease').touch()", shared, uid):
        said: list[str] = []
        with take_lease(request(1), tmp_path, what="test", say=said.append) as lease:
            reason = f"more than 4096 files lie in {shared}, most of nobody (user {uid})"
            assert [f"only this user's machines count: {reason}"] == said
            assert reason == lease.directory.private
            assert lease.directory.path.is_relative_to(tmp_path / "state")
        assert 0 == main(["ps"])
        assert reason in capsys.readouterr().out
        assert 0 == main(["gc", "--yes"])
        assert f"done: remove {count} files" in capsys.readouterr().out
    assert [] == names(shared)


def test_a_directory_that_another_made_first_is_refused(shared: Path, uid: int) -> None:
    """Its owner could remove every lease: 69, with the owner's name and the command that mends it."""
    os.chown(shared, uid, -1)
    with pytest.raises(
        InfrastructureError, match=f"it belongs to nobody .user {uid}. with mode 1777"
    ) as refused:
        Leases(shared).take(request(1), TEN, soon())
    assert refused.value.exit_code == ExitCode.INFRASTRUCTURE
    mend = f"sudo install -d -o root -g root -m 1777 {shared}"
    assert mend in refused.value.hint
    subprocess.run(mend.split()[1:], check=True)
    Leases(shared).take(request(1), TEN, soon()).release()


@pytest.mark.parametrize(
    ("mode", "above", "words"),
    [
        (0o755, 0o755, "leases is not a safe place for leases: it belongs to root (user 0) with mode 0755"),
        (0o777, 0o755, "with mode 0777, and must be root's with mode 1777"),
        (0o1777, 0o777, "with mode 0777, and must be root's with mode 0755"),
        (0o1777, 0o1777, "with mode 1777, and must be root's with mode 0755"),
        (0o700, 0o755, "leases is not a safe place for leases: it belongs to root (user 0) with mode 0700"),
        (0o1777, 0o700, "with mode 0700, and must be root's with mode 0755"),
    ],
)
def test_a_wrong_mode_is_named(shared: Path, uid: int, mode: int, above: int, words: str) -> None:
    """The host's directory is root's with mode 1777 and its parent root's alone; all else is 69 for every user."""
    shared.chmod(mode)
    shared.parent.chmod(above)
    code = (
        "from harness.errors import InfrastructureError\n"
        "from harness.host.lease_directory import lease_directory\n"
        "try:\n"
        "    lease_directory({'HOME': '/'}, shared=place).open()\n"
        "except InfrastructureError as error:\n"
        "    print(error)"
    )
    found = as_stranger(code, shared, uid)
    assert words in found.stdout, found.stderr
    assert f"sudo install -d -o root -g root -m 1777 {shared}" in found.stdout


def test_where_it_is_absent_leases_are_private(shared: Path, uid: int) -> None:
    """No user makes the host's directory; each has leases of its own, which others may not even look at."""
    shared.rmdir()
    directory = lease_directory({"XDG_STATE_HOME": str(shared.parent / "state")}, shared=shared)
    assert f"no {shared}" == directory.private
    with Leases(directory).take(request(1), TEN, soon()) as lease:
        path = directory.path / lease.name
        assert 0o700 == stat.S_IMODE(directory.path.stat().st_mode)
        assert (
            0 == as_stranger(f"refused(lambda: os.open({str(path)!r}, os.O_RDONLY))", shared, uid).returncode
        )
    assert not shared.exists()


def test_another_users_link_is_no_directory_of_leases(shared: Path, uid: int) -> None:
    """Where somebody can put a link, it is not followed."""
    link = shared / "link"
    link.symlink_to(shared.parent)
    os.lchown(link, uid, -1)
    with pytest.raises(InfrastructureError, match="link holds no leases: it is a link"):
        Leases(LeaseDirectory(path=link)).take(request(1), TEN, soon())


def test_anothers_reservation_is_said_and_cannot_be_taken_away(shared: Path, uid: int) -> None:
    """A machine starts all the same; another user's release leaves it, and root's gives it up."""
    code = """
import time
from harness.host.reservations import Reservations
Reservations(place).make(until=time.time() + 1000, why="theirs", now=time.time())
"""
    assert 0 == as_stranger(code, shared, uid).returncode
    told: list[str] = []
    with take_lease(request(1), shared, what="test", say=told.append) as lease:
        assert lease.granted
    mine = Reservations().make(until=time.time() + 500, why="mine", now=time.time())
    code = f"""
from harness.host.reservations import Reservations
print([each.claim.why for each in Reservations(place).release()])
refused(lambda: os.unlink(place / {mine.name!r}))
"""
    theirs = as_stranger(code, shared, uid)
    left = [each.claim.why for each in Reservations().current()]
    assert (["this host is reserved by nobody (user"], 0, "['theirs']\n", ["mine"]) == (
        [line.partition(f" {uid})")[0] for line in told if "reserved" in line], theirs.returncode, theirs.stdout, left,
    )  # fmt: skip
    assert (
        0
        == as_stranger(
            "import time\nfrom harness.host.reservations import Reservations\n"
            "Reservations(place).make(until=time.time() + 1000, why='again', now=time.time())",
            shared,
            uid,
        ).returncode
    )
    assert 2 == len(Reservations().release())
