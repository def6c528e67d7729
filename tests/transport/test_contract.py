# SPDX-License-Identifier: MIT
"""What every transport promises, held to the same suite on WinRM, SSH and the guest agent."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from transport.conftest import Endpoint

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestRefused, UsageError

pytestmark = pytest.mark.remote

SIZE = 300_000


def content(seed: int = 0) -> bytes:
    """Bytes that are no text and repeat nowhere."""
    return b"".join(hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(SIZE // 32))


def test_a_command_gives_exit_code_and_both_streams(endpoint: Endpoint, within: Deadline) -> None:
    """An exit code other than 0 is an outcome."""
    outcome = endpoint.link.run("echo out; echo err >&2; exit 7", within)
    assert (7, "out\n", "err\n", (), True, 1) == (
        outcome.exit_code,
        outcome.stdout,
        outcome.stderr,
        outcome.remarks,
        outcome.complete,
        outcome.attempts,
    )


def test_output_that_is_no_utf_8_is_shown_and_said(endpoint: Endpoint, within: Deadline) -> None:
    """Each bad byte becomes U+FFFD, good characters stay, and a remark counts the bad ones."""
    outcome = endpoint.link.run(r"printf 'caf\351 \303\251 \201\n'", within)
    assert "caf\ufffd é \ufffd\n" == outcome.stdout
    assert ("stdout: 2 bytes are not UTF-8, the first at 3; shown as U+FFFD",) == outcome.remarks


def test_output_past_the_limit_is_counted_and_dropped(endpoint: Endpoint, within: Deadline) -> None:
    """The command goes on to its end, and its exit code is known."""
    outcome = endpoint.link.run("head -c 100000 /dev/zero | tr '\\0' x; exit 3", within, limit=1000)
    assert (3, "x" * 1000, False) == (outcome.exit_code, outcome.stdout, outcome.complete)
    assert ("stdout: 100000 bytes, cut after 1000",) == outcome.remarks


def test_five_mebibytes_of_output_arrive_whole(endpoint: Endpoint, within: Deadline) -> None:
    """Nothing is lost between the pieces that a protocol cuts output into."""
    outcome = endpoint.link.run("yes 0123456789abcde | head -c 5242880", within)
    assert "0123456789abcde\n" * (5242880 // 16) == outcome.stdout
    assert outcome.complete


def test_clixml_on_stderr_becomes_text(endpoint: Endpoint, within: Deadline) -> None:
    """What PowerShell writes as XML is read as the lines it stands for."""
    blob = (
        '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
        '<S S="Error">no such service_x000D__x000A_</S></Objs>'
    )
    octal = "".join(f"\\{byte:03o}" for byte in blob.encode())
    outcome = endpoint.link.run(f"printf '{octal}' >&2", within)
    assert "no such service\n" == outcome.stderr


def test_a_hanging_command_ends_with_its_deadline(endpoint: Endpoint) -> None:
    """The error names the deadline and the last stage reached, and comes when it should."""
    endpoint.link.run("true", Deadline(20, "warming up"))
    watch = Deadline(300, "watch")
    with pytest.raises(
        GuestHang, match=r"a hanging command: not done within 2 s: last stage reached 'command run"
    ):
        endpoint.link.run("sleep 600", Deadline(2, "a hanging command"))
    assert watch.remaining() > 200


def test_a_script_longer_than_a_command_line_runs(every_endpoint: Endpoint, within: Deadline) -> None:
    """It goes into the guest as a file first."""
    lines = "\n".join(f"# {n:06} {'x' * 60}" for n in range(2000))
    outcome = every_endpoint.link.script(f"{lines}\necho done", within)
    assert (0, "done\n", "") == (outcome.exit_code, outcome.stdout, outcome.stderr)


def test_what_is_no_command_line_is_refused(endpoint: Endpoint, within: Deadline) -> None:
    """Nothing is sent."""
    for command in ("", "  ", "a\0b", "x" * 200_000):
        with pytest.raises(UsageError, match="is not a command line"):
            endpoint.link.run(command, within)


def there_and_back(endpoint: Endpoint, within: Deadline, tmp_path: Path, size: int) -> None:
    """Copy a file of so many bytes into the guest and out again."""
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(content()[:size])
    target = endpoint.disk / 'it\'s a "target" $HOME'
    put = endpoint.link.put(source, str(target), within)
    got = endpoint.link.get(str(target), back, within)
    assert content()[:size] == target.read_bytes() == back.read_bytes()
    assert (size, hashlib.sha256(content()[:size]).hexdigest(), 0) == (put.size, put.sha256, put.resumed_at)
    assert (got.size, got.sha256, got.resumed_at) == (put.size, put.sha256, put.resumed_at)
    assert [] == [
        path for path in [*tmp_path.iterdir(), *endpoint.disk.iterdir()] if path.name.endswith(".part")
    ]


def test_a_file_goes_there_and_back(every_endpoint: Endpoint, within: Deadline, tmp_path: Path) -> None:
    """Both ends have the same bytes, and no part of the copy is left behind."""
    there_and_back(every_endpoint, within, tmp_path, SIZE)


def test_an_empty_file_goes_there_and_back(endpoint: Endpoint, within: Deadline, tmp_path: Path) -> None:
    """It is a file, too."""
    there_and_back(endpoint, within, tmp_path, 0)


def test_a_cut_copy_goes_on_where_it_stopped(
    every_endpoint: Endpoint, within: Deadline, tmp_path: Path
) -> None:
    """What an earlier copy of the same content left is not sent again."""
    source, target, back = tmp_path / "source", every_endpoint.disk / "target", tmp_path / "back"
    source.write_bytes(content())
    digest = hashlib.sha256(content()).hexdigest()[:16]
    for part in (Path(f"{target}.{digest}.part"), Path(f"{back}.{digest}.part")):
        part.write_bytes(content()[:100_001])
        part.chmod(0o666)
    assert 100_001 == every_endpoint.link.put(source, str(target), within).resumed_at
    assert 100_001 == every_endpoint.link.get(str(target), back, within).resumed_at
    assert content() == target.read_bytes() == back.read_bytes()


def test_a_damaged_beginning_is_noticed_and_sent_again(
    endpoint: Endpoint, within: Deadline, tmp_path: Path
) -> None:
    """Whatever lies under a part's name, only the right bytes come to stand under the target's."""
    source, target, back = tmp_path / "source", endpoint.disk / "target", tmp_path / "back"
    source.write_bytes(content())
    digest = hashlib.sha256(content()).hexdigest()[:16]
    for part in (Path(f"{target}.{digest}.part"), Path(f"{back}.{digest}.part")):
        part.write_bytes(content(1)[:100_001])
        part.chmod(0o666)
    endpoint.link.put(source, str(target), within)
    endpoint.link.get(str(target), back, within)
    assert content() == target.read_bytes() == back.read_bytes()


def test_a_file_larger_than_allowed_is_not_copied(
    endpoint: Endpoint, within: Deadline, tmp_path: Path
) -> None:
    """The sizes are compared before the first byte."""
    source = tmp_path / "source"
    source.write_bytes(b"12345")
    (endpoint.disk / "large").write_bytes(b"12345")
    with pytest.raises(UsageError, match="has 5 bytes, more than the 4"):
        endpoint.link.put(source, str(endpoint.disk / "target"), within, limit=4)
    with pytest.raises(GuestRefused, match="has 5 bytes, more than the 4"):
        endpoint.link.get(str(endpoint.disk / "large"), tmp_path / "back", within, limit=4)


def test_a_missing_file_is_named(endpoint: Endpoint, within: Deadline, tmp_path: Path) -> None:
    """On either side."""
    with pytest.raises(GuestRefused, match="the guest has no file /nowhere"):
        endpoint.link.get("/nowhere", tmp_path / "back", within)
    with pytest.raises(UsageError, match=r"cannot read .*absent: No such file"):
        endpoint.link.put(tmp_path / "absent", str(endpoint.disk / "target"), within)


def test_a_file_cannot_be_put_where_there_is_no_directory(
    endpoint: Endpoint, within: Deadline, tmp_path: Path
) -> None:
    """The guest's own words come back."""
    source = tmp_path / "source"
    source.write_bytes(b"12345")
    with pytest.raises(GuestRefused, match="No such file"):
        endpoint.link.put(source, str(endpoint.disk / "no" / "such"), within)


def test_hostile_names_are_refused_and_become_no_paths(
    endpoint: Endpoint, within: Deadline, tmp_path: Path
) -> None:
    """Plain names give numbered files; a name with a separator, a control or a non-character gives none."""
    disk = endpoint.disk / "logs"
    disk.mkdir(mode=0o755)
    plain = {
        "a b.etl": b"1",
        "-rf": b"22",
        "Ünïcode": b"333",
        "$(touch x)": b"4444",
        "'; touch y; '": b"55555",
    }
    for name, data in plain.items():
        (disk / name).write_bytes(data)
    bad = [b"new\nline", b"..\\..\\boot.ini", b"c:stream", b"\x1b[2J", "\u202egpj.exe".encode(), b"\xff\xfe"]
    for each in bad:
        (Path(os.fsdecode(disk)) / os.fsdecode(each)).write_bytes(b"x")
    (disk / "link").symlink_to("/etc/passwd")
    into = tmp_path / "into"
    into.mkdir()
    gathered = endpoint.link.gather(str(disk), into, within)
    taken = {each.name: each.path.read_bytes() for each in gathered if each.path is not None}
    assert plain == taken
    assert sorted(os.fsdecode(each) for each in bad) == sorted(each.name for each in gathered if each.refused)
    assert [f"{n:04}" for n in range(len(plain))] == sorted(path.name for path in into.iterdir())
    assert not (Path("x").exists())
    assert not (Path("y").exists())


def test_gathering_stops_at_its_limits(endpoint: Endpoint, within: Deadline, tmp_path: Path) -> None:
    """What is left out is named with the reason."""
    disk, into = endpoint.disk / "logs", tmp_path / "into"
    disk.mkdir(mode=0o755)
    into.mkdir()
    for name in ("a", "b", "c"):
        (disk / name).write_bytes(b"123")
    by_size = endpoint.link.gather(str(disk), into, within, limit=7)
    assert ["", "", "3 bytes, of which only 1 may still be copied"] == [each.refused for each in by_size]
    by_number = endpoint.link.gather(str(disk), into, within, files=1)
    assert ["", "1 files are taken already", "1 files are taken already"] == [
        each.refused for each in by_number
    ]


def test_a_job_outlives_its_connection_and_is_run_once(endpoint: Endpoint, within: Deadline) -> None:
    """Starting it again does not run it again, and its result is there until it is forgotten."""
    text = f"echo ran >> {endpoint.disk}/trace; echo out; echo err >&2; exit 9"
    job = endpoint.link.start(text, within, job="hot-add-1")
    endpoint.link.close()
    outcome = endpoint.link.collect(job, within)
    assert ("hot-add-1", 9, "out\n", "err\n") == (job, outcome.exit_code, outcome.stdout, outcome.stderr)
    endpoint.link.start(text, within, job=job)
    assert 9 == endpoint.link.collect(job, within).exit_code
    assert "ran\n" == (endpoint.disk / "trace").read_text()
    endpoint.link.forget(job, within)
    with pytest.raises(GuestRefused, match="the guest knows no job 'hot-add-1'"):
        endpoint.link.collect(job, within)


def test_a_job_that_does_not_end_is_told_by_its_state(endpoint: Endpoint, within: Deadline) -> None:
    """The deadline ends the waiting, not the job."""
    job = endpoint.link.start(f"echo $$ > {endpoint.disk}/pid; exec sleep 60", within)
    pid = within.poll(
        lambda: (endpoint.disk / "pid").exists() and (endpoint.disk / "pid").read_text().strip()
    )
    with pytest.raises(GuestHang, match=f"job {job} did not end within 3 s: last state seen 'running'"):
        endpoint.link.collect(job, Deadline(3, "the job"))
    os.kill(int(pid), 9)
    assert 0 != endpoint.link.collect(job, within).exit_code


def test_what_could_be_a_path_is_no_job(endpoint: Endpoint, within: Deadline) -> None:
    """The id becomes a directory's name in the guest."""
    for job in ("../x", "A", "-x", "a/b", "x" * 65):
        with pytest.raises(UsageError, match="cannot be the id of a job"):
            endpoint.link.start("true", within, job=job)
