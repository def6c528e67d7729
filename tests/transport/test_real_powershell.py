# SPDX-License-Identifier: MIT
"""The operations for Windows, executed by a real PowerShell, and their stand-in held to what it answers.

Only Windows has ``Win32_Process`` and ``Start-Process -WindowStyle``: functions replace them in ``launch`` and ``runner``.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import io
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from part_markers import needs
from transport import powershell_standin
from transport.conftest import winrm_to
from transport.real_powershell import ManyScripts, Replied, ask, program
from transport.wsman_double import Double, Handler

from harness.deadline import Deadline
from harness.transport.dialect import IN_USE
from harness.transport.powershell import BODIES, Windows
from harness.transport.winrm import CHUNK

pytestmark = pytest.mark.powershell

STANDIN = [sys.executable, "-I", powershell_standin.__file__]
BYTES = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(6_400))
"""More than one Send of WinRM carries: 204,800 bytes that repeat nowhere."""

WITHOUT_WINDOWS = """
function Start-Process($FilePath, $ArgumentList, $WindowStyle, [switch]$PassThru, [switch]$Wait,
    $RedirectStandardOutput, $RedirectStandardError) {
    [void]$PSBoundParameters.Remove('WindowStyle')
    Microsoft.PowerShell.Management\\Start-Process @PSBoundParameters
}
function Invoke-CimMethod($ClassName, $MethodName, $Arguments) {
    [Console]::Out.WriteLine("$ClassName $MethodName $($Arguments.CommandLine)")
    @{ ReturnValue = 0 }
}
"""


def lines(content: bytes) -> bytes:
    """Return a file as ``write`` is fed: lines of Base64 as WinRM sends them, and an empty one at the end."""
    pieces = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
    return b"".join(base64.b64encode(piece) + b"\r\n" for piece in (*pieces, b""))


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture
@needs("powershell")
def powershell(tmp_path: Path) -> Path:
    """The real one; its home is a directory of the test's own."""
    folder = tmp_path / "powershell home"
    folder.mkdir()
    return program(folder)


@pytest.fixture(scope="module")
@needs("powershell")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyScripts]:
    """A real one for every script that needs no process of its own."""
    made = ManyScripts(program(tmp_path_factory.mktemp("many")))
    yield made
    made.close()


def stand_in(line: str, stdin: bytes = b"") -> Replied:
    """Return what the stand-in does with a command line; as a process it ends with 1 where it raises."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            failed = bool(powershell_standin.main(shlex.split(line)[1:]))
    except OSError as error:
        return Replied(True, out.getvalue().splitlines(), str(error))
    return Replied(failed, out.getvalue().splitlines(), err.getvalue())


ENTIRE = ("many", "nothing sent")
"""Cases that have processes of their own: what stands between stdin and ``$input`` is PowerShell's."""


def test_write_takes_its_lines_from_stdin(powershell: Path, many: ManyScripts, tmp_path: Path) -> None:
    """A file of many lines, an empty one, the rest of one that is there, and nothing where too little is there."""
    cases = {
        "many": (b"", 0, lines(BYTES), BYTES, False),
        "empty": (b"old", 0, lines(b""), b"", False),
        "nothing sent": (b"old", 0, b"", b"", False),
        "resumed": (b"0123456789", 4, lines(b"abc"), b"0123abc", False),
        "a gap": (b"0123", 5, lines(b"abc"), b"0123", True),
        "no Base64": (b"", 0, b"YWJj\r\nno Base64!\r\n", b"abc", True),
    }

    def real(line: str, stdin: bytes, name: str) -> Replied:
        return ask([str(powershell)], line, stdin) if name in ENTIRE else many.ask(line, stdin=stdin)[0]

    def double(line: str, stdin: bytes, name: str) -> Replied:
        return ask(STANDIN, line, stdin) if name in ENTIRE else stand_in(line, stdin)

    for folder, asked in ((tmp_path / "it's real", real), (tmp_path / "it's double", double)):
        folder.mkdir()
        for name, (before, offset, stdin, after, fails) in cases.items():
            path = folder / name
            path.write_bytes(before)
            script = Windows().operation("write", path=str(path), offset=str(offset))
            replied = asked(Windows().invoke(script), stdin, name)
            assert (fails, [], after) == (replied.failed, replied.printed, path.read_bytes()), replied.said
            assert ("only 4 of 5 bytes are there" in replied.said) is (name == "a gap")


def furnish(folder: Path) -> None:
    """Make the files that ``questions`` ask about."""
    for name in ("logs", "logs/folder", "waiting", "running", "done", "to run", "claimed"):
        (folder / name).mkdir(parents=True)
    for name in (
        "file",
        "part",
        "damaged",
        "logs/a b.etl",
        "logs/$(x) [1].log",
        "logs/.hidden",
        "logs/Ünï'code",
    ):
        (folder / name).write_bytes(name.encode())
    (folder / "large").write_bytes(BYTES)
    (folder / "there already").write_bytes(b"part")
    (folder / "old").write_bytes(b"an older one")
    (folder / "logs" / "link").symlink_to(folder / "file")
    for name in ("running/claim", "done/claim", "claimed/claim"):
        (folder / name).touch()
    (folder / "done" / "exit").write_text("-1073741819")
    (folder / "to run" / "script.ps1").write_bytes(Windows().content("echo out; exit 7\n"))


def questions(folder: Path) -> list[tuple[str, str]]:
    """Return the scripts of every operation but ``write`` and a launch that works, each with its name."""
    ask = Windows()
    names = [each.name for each in folder.iterdir()]
    path = {name: str(folder / name) for name in (*names, "none", "new", "new/er")}
    part = hashlib.sha256(b"part").hexdigest()
    asked = {
        "size": [ask.operation("size", path=path[name]) for name in ("file", "large", "none", "logs")],
        "digest": [ask.operation("digest", path=path[name]) for name in ("file", "large", "none", "logs")],
        "settle": [
            ask.operation("settle", part=path["damaged"], target=path["old"], sha256=part),
            ask.operation("settle", part=path["part"], target=path["old"], sha256=part),
            ask.operation("settle", part=path["part"], target=path["old"], sha256=part),
            ask.operation("settle", part=path["part"], target=path["file"], sha256=part),
            ask.operation("settle", part=path["none"], target=path["there already"], sha256=part),
            ask.operation("settle", part=path["none"], target=path["none"], sha256=part),
        ],
        "listing": [ask.operation("listing", directory=path[name]) for name in ("logs", "waiting", "none")],
        "prepare": [ask.operation("prepare", directory=path[name]) for name in ("new/er", "logs", "file")],
        "state": [
            ask.operation("state", directory=path[name]) for name in ("none", "waiting", "running", "done")
        ],
        "read": [
            ask.operation("read", path=path["large"], offset="0", length=str(len(BYTES))),
            ask.operation("read", path=path["large"], offset="100", length=str(50_000)),
            ask.operation("read", path=path["file"], offset="2", length="100"),
            ask.operation("read", path=path["file"], offset="100", length="100"),
            ask.operation("read", path=path["none"], offset="0", length="1"),
        ],
        "runner": [
            ask.operation("runner", directory=path["claimed"]),
            ask.operation("runner", directory=path["to run"]),
            ask.operation("runner", directory=path["to run"]),
        ],
        "launch": [ask.operation("launch", directory=path["waiting"])],
        "remove": [ask.operation("remove", path=path[name]) for name in ("damaged", "logs", "none")],
    }
    return [(name, script) for name, scripts in asked.items() for script in scripts]


def test_the_stand_in_answers_as_powershell_does(many: ManyScripts, tmp_path: Path) -> None:
    """The same questions about the same files: the same failures, the same lines, the same files afterwards."""
    real, double = tmp_path / "it's real", tmp_path / "it's double"
    for folder in (real, double):
        furnish(folder)
    asked = questions(real)
    assert set(BODIES) - {"write"} == {name for name, _ in asked}
    replies = many.ask(*(Windows().invoke(script) for _, script in asked), before=WITHOUT_WINDOWS)
    answers = [stand_in(Windows().invoke(script)) for _, script in questions(double)]
    names = [name for name, _ in asked]
    there, here = (
        [(name, each.failed, sorted(each.printed)) for name, each in zip(names, replied, strict=True)]
        for replied in (replies, answers)
    )
    assert there == here
    assert tree(real) == tree(double)
    assert (b"7", b"out\n") == (
        (real / "to run" / "exit").read_bytes(),
        (real / "to run" / "stdout").read_bytes(),
    )


def test_launch_hands_the_runner_to_wmi(many: ManyScripts, tmp_path: Path) -> None:
    """Win32_Process gets the command line that runs a script file."""
    (tmp_path / "runner.ps1").touch()
    dialect = Windows()
    (reply,) = many.ask(
        dialect.invoke(dialect.operation("launch", directory=str(tmp_path))), before=WITHOUT_WINDOWS
    )
    line = dialect.invoke_file(dialect.join(str(tmp_path), "runner.ps1"))
    assert [f"Win32_Process Create {line}"] == reply.printed


def test_a_file_in_use_is_told_from_others(powershell: Path, tmp_path: Path) -> None:
    """By the exit code that is tried again; what is merely not there ends with another."""
    path = tmp_path / "in use"
    path.write_bytes(b"0123")
    ask_for = Windows()
    with path.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for script in (
            ask_for.operation("write", path=str(path), offset="4"),
            ask_for.operation("settle", part=str(path), target=str(tmp_path / "target"), sha256="0" * 64),
        ):
            replied = ask([str(powershell)], ask_for.invoke(script))
            assert (IN_USE, []) == (replied.code, replied.printed)
            assert "used by another process" in replied.said
    replied = ask(
        [str(powershell)],
        ask_for.invoke(ask_for.operation("write", path=str(tmp_path / "no" / "such"), offset="0")),
    )
    assert (1, b"0123") == (replied.code, path.read_bytes())


def test_a_runner_waits_for_its_script_alone(many: ManyScripts, tmp_path: Path) -> None:
    """What the script started may go on: the job has ended, and its exit code is there."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "script.ps1").write_bytes(Windows().content("echo out; exit 7\n"))
    waited = WITHOUT_WINDOWS.replace(
        "[void]$PSBoundParameters.Remove('WindowStyle')",
        "if ($Wait) { throw 'it would wait for grandchildren' }; [void]$PSBoundParameters.Remove('WindowStyle')",
    )
    (reply,) = many.ask(Windows().invoke(Windows().operation("runner", directory=str(folder))), before=waited)
    assert (False, "7", "out\n") == (
        reply.failed,
        (folder / "exit").read_text(),
        (folder / "stdout").read_text(),
    )


def test_a_runner_that_throws_leaves_its_end(many: ManyScripts, tmp_path: Path) -> None:
    """A job whose script cannot be started has ended too, and says why."""
    folder = tmp_path / "job"
    folder.mkdir()
    refused = "function Start-Process { throw 'the policy forbids it' }\n"
    (reply,) = many.ask(
        Windows().invoke(Windows().operation("runner", directory=str(folder))), before=refused
    )
    assert (False, "-1") == (reply.failed, (folder / "exit").read_text())
    assert "not run to its end: the policy forbids it" in (folder / "stderr").read_text()


def test_a_line_with_quotes_reaches_cmd_as_it_is(many: ManyScripts) -> None:
    """PowerShell is only asked to start cmd.exe, whose line is not quoted anew."""
    line = '"C:\\a b\\hpnctl.exe" --device "it\'s" & echo %x% "'
    double = """
function New-Object($TypeName, $ArgumentList) {
    if ($TypeName -ne 'Diagnostics.ProcessStartInfo') { return Microsoft.PowerShell.Utility\\New-Object $TypeName $ArgumentList }
    [Console]::Out.WriteLine("$($ArgumentList[0])|$($ArgumentList[1])")
    throw 'no cmd.exe here'
}
"""
    (reply,) = many.ask(" ".join(Windows().arguments(line)), before=double)
    assert [f'cmd.exe|/d /s /c "{line}"'] == reply.printed


@pytest.mark.remote
def test_a_copy_goes_on_when_the_file_is_free(double: Double, tmp_path: Path) -> None:
    """What an earlier, cut command still holds open is waited for, within the deadline."""
    program(tmp_path / "programs")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(BYTES)
    part = Path(f"{target}.{hashlib.sha256(BYTES).hexdigest()[:16]}.part")
    part.write_bytes(BYTES[:100_001])
    link = winrm_to(double)
    commands = 0
    with part.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)

        def free_it_later(_handler: Handler) -> None:
            nonlocal commands
            commands += 1
            double.hooks["Command"] = free_it_later
            # The first asks for the size, the second writes and is refused.
            if commands == 3:
                fcntl.flock(holder, fcntl.LOCK_UN)

        double.hooks["Command"] = free_it_later
        copied = link.put(source, str(target), Deadline(60, "the copy"))
    assert (100_001, 2, BYTES) == (copied.resumed_at, copied.attempts, target.read_bytes())


@pytest.mark.remote
def test_a_file_goes_over_winrm_into_powershell(double: Double, tmp_path: Path) -> None:
    """Sent by WS-Management's Send to a command without a console, whole and with the right digest."""
    program(tmp_path / "programs")
    (tmp_path / "source").write_bytes(BYTES)
    link = winrm_to(double)
    copied = link.put(tmp_path / "source", str(tmp_path / "target"), Deadline(60, "the test"))
    link.close()
    assert (len(BYTES), 0, 1) == (copied.size, copied.resumed_at, copied.attempts)
    assert BYTES == (tmp_path / "target").read_bytes()
