# SPDX-License-Identifier: MIT
"""Paths that must not be read, links that lead to each other, and locales that are not UTF-8: the right code, clear words.

Commands with locked paths are forked. One in another locale, and one that judges a set, is a process from its start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.contract.notation import trace
from harness.errors import ExitCode
from harness.history.writer import HistoryWriter

Caught = pytest.CaptureFixture[str]

RIGHTS = "-dac_override,-dac_read_search"
"""What root has, and nobody else: files are opened whatever their mode says (Linux: capabilities(7))."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to be in, with two runs and links that lead to each other."""
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        with HistoryWriter(tmp_path / "runs" / name) as writer:
            for record in trace("S2 C2 V", run=name, guest="twin"):
                writer.write(record, host_ns=record.host_ns)
        facts = {"run": name, "plan": {"name": "veto"}}
        (tmp_path / "runs" / name / "run.json").write_bytes(msgspec.json.encode(facts))
    (tmp_path / "plan.toml").write_text('name = "a"\n[[do]]\nop = "quiesce"\n')
    for one, other in (("loop", "pool"), ("pool", "loop"), ("loop.toml", "loop.toml")):
        (tmp_path / one).symlink_to(other)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(
    place: Path, *words: str, program: Sequence[str] = ("-m", "harness"), **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process without root's right to open everything."""
    rights = (
        ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}", "--"] if os.geteuid() == 0 else []
    )
    path = os.pathsep.join(sys.path)
    return subprocess.run(
        [*rights, sys.executable, *program, *words], cwd=place, capture_output=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("locked", "words", "code", "said"),
    [
        ("runs/one", "check runs/one", 64, "runs/one/history.jsonl: Permission denied"),
        ("runs/one", "check runs", 64, "runs/one/history.jsonl: Permission denied"),
        ("runs", "observe show runs", 64, "runs/history.jsonl: Permission denied"),
        ("runs", "evidence show runs/one", 64, "runs/one: Permission denied"),
        ("runs", "evidence pack runs/one", 64, "runs/one: Permission denied"),
        ("runs", "driver sign runs/x.sys", 64, "cannot sign runs/x.sys: Permission denied"),
        ("runs", "evidence pack other --out runs/x.tar.gz", 69, "into runs/x.tar.gz: Permission denied"),
        ("runs", "run ./plan.toml --guest host --runs runs", 69, "cannot make the run directory runs/"),
        ("plan.toml", "plan check ./plan.toml", 64, "plan.toml: Permission denied"),
    ],
)
def test_what_must_not_be_entered_is_named(
    locked: str,
    words: str,
    code: int,
    said: str,
    place: Path,
    run_forked: Callable[..., tuple[int, str, str]],
) -> None:
    """64 where something is read, 69 where something is written, and never a defect of the harness."""
    (place / "runs" / "two").rename(place / "other")
    (place / "other").rename(place / "runs" / "two") if locked == "runs/one" else None
    (place / locked).chmod(0)
    try:
        ends, out, err = run_forked(f"PWD={place}", *words.split(), entry="command_without_override")
    finally:
        (place / locked).chmod(0o700)
    assert (code, True) == (ends, said in out + err), (out, err)
    assert "defect" not in err


def test_one_locked_run_does_not_hide_the_others(place: Path) -> None:
    """It is an error of its own in the set, which is therefore 64."""
    (place / "runs" / "one").chmod(0)
    try:
        done = ended(place, "check", "runs", "--json")
    finally:
        (place / "runs" / "one").chmod(0o700)
    runs = json.loads(done.stdout)["runs"]
    assert [64, [False, True]] == [done.returncode, ["verdict" in run for run in runs]]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("check loop", 64),
        ("check loop/one runs/one", 64),
        ("diff loop runs/one", 64),
        ("observe show loop", 64),
        ("observe diff loop runs", 64),
        ("repro loop", 64),
        ("import loop", 64),
        ("evidence show loop", 64),
        ("evidence pack loop", 64),
        ("run ./loop.toml --guest host", 64),
        ("run ./plan.toml --guest host --runs loop", 69),
        ("run ./plan.toml --driver loop", 64),
        ("nightly --dry-run --lab loop.toml", 64),
        ("nightly --once --into loop --lab lab.toml", 69),
        ("etl info loop", 64),
        ("driver check loop", 64),
        ("driver sign loop", 64),
        ("driver manifest loop --out built", 64),
    ],
)
def test_links_that_lead_to_each_other_are_named(words: str, code: int, place: Path, capsys: Caught) -> None:
    """As a run, a plan, a lab and a place to write to."""
    (place / "lab.toml").write_text('[[plan]]\nplan = "veto"\n')
    assert code == main(words.split())
    said = capsys.readouterr().err
    assert "defect" not in said
    assert "symbolic links" in said or "--driver: there is no file" in said


LOCALES = [
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "latin-1"},
]
"""Python takes C for UTF-8 unless it is told otherwise (PEP 538, PEP 540)."""


TWICE = """
import sys
from harness.cli.main import main
there, other = sys.argv[1:]
codes = [main(["check", there, other, "--json"])]
for stream in (sys.stdout, sys.stderr):
    print("\\f", end="", file=stream, flush=True)
codes.append(main(["check", there]))
sys.exit(codes != [64, 0])
"""
"""Judges a run beside one that is not there, and alone, in one process with the locale. A form feed stands between."""


@pytest.mark.parametrize("environment", LOCALES, ids=lambda environment: " ".join(environment))
def test_a_locale_changes_no_code_and_no_document(environment: dict[str, str], place: Path) -> None:
    """A name outside ASCII is a name; JSON is legal and says it, in ASCII where output is not UTF-8."""
    (place / "runs" / "one").rename(place / "runs" / "\u00fcn")
    done = ended(place, "runs/\u00fcn", "runs/n\u00f6", program=("-c", TWICE), **environment)
    document, _text = done.stdout.split(b"\f")
    _complaint, unexpected = done.stderr.split(b"\f")
    runs = json.loads(document.decode("utf-8"))["runs"]
    assert ["holds", None] == [run.get("verdict", {}).get("verdict") for run in runs]
    assert (0, b"") == (done.returncode, unexpected), done


def test_a_name_that_is_no_text_in_the_locale_is_refused_with_the_way_out(place: Path) -> None:
    """What a run's documents cannot name is said before there is a run."""
    (place / "plan.toml").rename(place / "pl\u00e4n.toml")
    done = ended(place, "run", "./pl\u00e4n.toml", "--guest", "host", **LOCALES[1])
    assert ExitCode.USAGE == done.returncode
    assert b"not text in this locale, whose encoding is ascii" in done.stderr
    assert b"PYTHONUTF8=1" in done.stderr
