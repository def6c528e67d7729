# SPDX-License-Identifier: MIT
"""An archive of a run: the same bytes each time, nothing from outside the run, nothing that need not be there."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tarfile
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.history.evidence import EvidenceIndex, EvidenceItem
from harness.report.pack import PackManifest, pack
from harness.template.manifest import GuestCredentials

KEY = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with all kinds of things in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("do not take me")
    run = tmp_path / "runs" / "r-1"
    (run / "evidence" / "guest").mkdir(parents=True)
    (run / "run.json").write_text('{"run": "r-1"}')
    (run / "history.jsonl").write_text("{}\n")
    (run / "console.log").write_text("hello\n" * 100)
    (run / "evidence" / "registers.txt").write_text("RIP=1")
    (run / "evidence" / "guest" / "trace.etl").write_bytes(b"\0" * 5000)
    (run / "evidence" / "memory.elf").write_bytes(b"\x7fELF" * 1000)
    (run / "overlay.qcow2").write_bytes(b"QFI\xfb")
    (run / "key.txt").write_text("x" * ((1 << 20) - 12) + KEY)
    (run / "link.txt").symlink_to(outside / "secret.txt")
    (run / "folder").symlink_to(outside)
    os.mkfifo(run / "pipe.log")
    return run


def why(manifest: PackManifest) -> dict[str, str]:
    """Return why each file was left out."""
    return {file.name: file.why for file in manifest.left_out}


def test_archive_holds_the_evidence_and_nothing_else(run: Path, tmp_path: Path) -> None:
    """Links, pipes, disks, keys and dumps stay behind, each with its reason; what is in is what the manifest says."""
    manifest = pack(run, tmp_path / "a.tar.gz")
    assert {
        "link.txt": "no regular file",
        "folder": "no regular file",
        "pipe.log": "no regular file",
        "overlay.qcow2": "not a kind of file that is evidence",
        "key.txt": "it holds a private key",
        "evidence/memory.elf": "a dump holds all that the guest knew; --dump packs it",
    } == why(manifest)
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        names = archive.getnames()
        held = {name: archive.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    assert names == ["r-1/MANIFEST.json", *(f"r-1/{file.name}" for file in manifest.files)]
    assert [file.name for file in manifest.files] == sorted(file.name for file in manifest.files)
    assert all(hashlib.sha256(held[f"r-1/{file.name}"]).hexdigest() == file.sha256 for file in manifest.files)
    assert json.loads(held["r-1/MANIFEST.json"])["run"] == "r-1"
    assert b"do not take me" not in b"".join(held.values())


def test_archive_is_the_same_each_time(run: Path, tmp_path: Path) -> None:
    """Neither times, nor owners, nor the archive's name are in it."""
    pack(run, tmp_path / "a.tar.gz")
    for file in run.rglob("*"):
        if not file.is_symlink():
            os.utime(file, (1, 1))
    pack(run, tmp_path / "other.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "other.tar.gz").read_bytes()


def test_limit_keeps_what_matters_most(run: Path, tmp_path: Path) -> None:
    """Within a small limit run.json and the history go in before a trace; a dump only if asked for."""
    manifest = pack(run, tmp_path / "a.tar.gz", limit=700, dumps=True)
    assert {"run.json", "history.jsonl", "console.log", "evidence/registers.txt"} == {
        file.name for file in manifest.files
    }
    assert why(manifest)["evidence/guest/trace.etl"].startswith("too large")
    whole = pack(run, tmp_path / "b.tar.gz", dumps=True)
    assert "evidence/memory.elf" in {file.name for file in whole.files}


def test_pack_and_show_on_the_command_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is called as the run; show prints the index, harmless on a terminal."""
    monkeypatch.chdir(tmp_path)
    assert 0 == main(["evidence", "pack", str(run)])
    out = capsys.readouterr().out
    assert out.startswith("r-1.tar.gz: 5 files, ")
    assert "left out: key.txt" in out
    index = EvidenceIndex(
        run="r-1",
        why="the guest \x1b[2J hung",
        stage="boot",
        items=[EvidenceItem(name="registers", state="collected", files=["evidence/registers.txt"], bytes=5)],
    )
    (run / "evidence" / "index.json").write_bytes(json.dumps(_plain(index)).encode())
    assert 0 == main(["evidence", "show", str(run)])
    said = capsys.readouterr().out
    assert "r-1: the guest \\x1b[2J hung\nclass -, stage boot\n" in said
    assert "collected   registers         " in said


def _plain(index: EvidenceIndex) -> dict[str, object]:
    import msgspec

    return dict(msgspec.to_builtins(index))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pack", "{tmp}"], "is not a run directory"),
        (["pack", "{run}", "--out", "{tmp}"], "is a directory"),
        (["pack", "{run}", "--limit", "big"], "--limit: expected a size like \"256 MiB\", got 'big'"),
        (["show", "{tmp}/none"], "No such file or directory"),
        (["show", "{run}"], "has no evidence"),
    ],
)
def test_mistakes_are_explained(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Each ends with 64 and leaves no file behind."""
    assert 64 == main(["evidence", *(word.format(tmp=tmp_path, run=run) for word in words)])
    assert message in capsys.readouterr().err
    assert list(tmp_path.glob("*.tar.gz")) == []


def test_archive_that_cannot_be_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with 69 and says where else to put it."""
    assert 69 == main(["evidence", "pack", str(run), "--out", str(tmp_path / "none" / "a.tar.gz")])
    assert "--out FILE" in capsys.readouterr().err


CREDENTIALS = GuestCredentials(
    password="correct-horse-battery", private_key=KEY, public_key="ssh-ed25519 AAAA"
)


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an interrupted build leaves: checkpoints, the answers, secrets, and logs, in some of which the password is."""
    monkeypatch.setenv("HOTPLUG_HARNESS_TEMPLATES", str(tmp_path / "store"))
    folder = tmp_path / "store" / ".work" / "windows-server-2025"
    (folder / "log" / "01").mkdir(parents=True)
    (folder / "log" / "02").mkdir()
    for attempt in ("01", "02"):
        (folder / "log" / attempt / "history.jsonl").write_text("{}\n")
        (folder / "log" / attempt / "console.log").write_text("HPN-MARK stage winpe\n")
    (folder / "state.json").write_text("{}")
    (folder / "secrets.json").write_bytes(msgspec.json.encode(CREDENTIALS))
    for name in ("layer-1.qcow2", "variables.fd", "answers.iso"):
        (folder / name).write_bytes(b"x")
    hidden = base64.b64encode("correct-horse-batteryAdministratorPassword".encode("utf-16-le"))
    for name, content in (
        ("plain.log", b"net user Administrator correct-horse-battery"),
        ("wide.log", b"\xff\xfe" + "p=correct-horse-battery".encode("utf-16-le")),
        ("cut.log", b"x" * ((1 << 20) - 5) + b"correct-horse-battery"),
        ("unattend.xml", b"<Value>" + hidden + b"</Value>"),
    ):
        (folder / "log" / "02" / name).write_bytes(content)
    return folder


def test_a_build_that_failed_is_packed_by_its_templates_name(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its logs go in; disks, answers, keys and every file in which the password is stay behind."""
    monkeypatch.chdir(tmp_path)
    assert 0 == main(["evidence", "pack", "windows-server-2025"])
    assert "windows-server-2025-build.tar.gz: 5 files" in capsys.readouterr().out
    with tarfile.open("windows-server-2025-build.tar.gz") as archive:
        names = {name.removeprefix("windows-server-2025/") for name in archive.getnames()}
    logs = {f"log/{attempt}/{name}" for attempt in ("01", "02") for name in ("history.jsonl", "console.log")}
    assert {"MANIFEST.json", "state.json", *logs} == names
    assert 0 == main(["evidence", "pack", str(build), "--json", "--out", "b.tar.gz"])
    left_out = {
        one["name"]: one["why"] for one in json.loads(capsys.readouterr().out)["manifest"]["left_out"]
    }
    assert dict.fromkeys(("secrets.json", "log/02/plain.log", "log/02/wide.log", "log/02/cut.log", "log/02/unattend.xml"), "it holds a password").items() <= left_out.items()  # fmt: skip


def test_a_template_that_is_built_is_packed_too(build: Path, tmp_path: Path) -> None:
    """If no build of it is under way: its manifest and its build's logs, neither disk nor key."""
    folder = tmp_path / "store" / "windows-server-2025"
    build.rename(folder)
    (folder / "manifest.json").write_text("{}")
    (folder / "key").write_text(KEY)
    out = tmp_path / "a.tar.gz"
    assert 0 == main(["evidence", "pack", "windows-server-2025", "--out", str(out)])
    with tarfile.open(out) as archive:
        assert {"windows-server-2025/manifest.json", "windows-server-2025/log/01/history.jsonl"} <= {
            *archive.getnames()
        }
        assert "windows-server-2025/key" not in archive.getnames()


def test_a_template_without_a_build_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said as of any other name."""
    monkeypatch.setenv("HOTPLUG_HARNESS_TEMPLATES", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    assert 64 == main(["evidence", "pack", "windows-server-2025"])
    assert "windows-server-2025: No such file or directory" in capsys.readouterr().err


def test_a_hidden_password_is_spelled_as_microsoft_shows_it() -> None:
    """The example of the page on AdministratorPassword, whose password is pw."""
    known = GuestCredentials(password="pw", private_key="", public_key="")
    assert b"cAB3AEEAZABtAGkAbgBpAHMAdAByAGEAdABvAHIAUABhAHMAcwB3AG8AcgBkAA==" in known.spellings()
