# SPDX-License-Identifier: MIT
"""docs/schemas/ describes what commands print with --json: the files are those of the types, and the output is of them."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from json_schema import check_schema, validate

from docs.schemas import FOLDER, schemas, text
from harness.cli.command_tree import command_tree
from harness.cli.documents import DOCUMENTS
from harness.cli.main import main
from harness.cli.output import JSON_VERSION
from harness.contract.notation import trace
from harness.errors import FailureClass
from harness.history.evidence import EvidenceIndex, EvidenceItem
from harness.history.writer import HistoryWriter
from harness.lab import summary
from harness.lab.matrix import decode_matrix
from harness.lab.nightly_state import CellOutcome, open_nightly_run
from harness.lab.summary import document
from tests.capture.etl import encoder

Caught = pytest.CaptureFixture[str]

SCHEMAS = schemas()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to be in, with runs, evidence, plans, a lab and a log."""
    for name, guest, said in (
        ("holds", "twin", "S2 C2 V"),
        ("violated", "twin", "C2 V"),
        ("other", "host", "S2! F2"),
    ):
        directory = tmp_path / name
        (directory / "evidence").mkdir(parents=True)
        with HistoryWriter(directory) as writer:
            for record in trace(said, run=name, guest=guest):
                writer.write(record, host_ns=record.host_ns)
        facts = {"run": name, "plan": {"name": "veto"}}
        (directory / "run.json").write_bytes(msgspec.json.encode(facts))
        items = [
            EvidenceItem(name="state", state="collected", files=["evidence/state.json"], bytes=3, seconds=0.1)
        ]
        index = EvidenceIndex(run=name, why="a test", stage="boot", failure_class="guest hang", items=items)
        (directory / "evidence" / "index.json").write_bytes(msgspec.json.encode(index))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "history.jsonl").write_text("")
    (tmp_path / "wrong.toml").write_text('name = "a"\n[[do]]\nop = "add-cpu"\nslot = 9\n')
    (tmp_path / "lab.toml").write_text(
        '[[plan]]\nplan = "veto"\n[[plan]]\nplan = "reset"\n[[skip]]\nplan = "reset"\nwhy = "x"\n'
    )
    event = encoder.perf(encoder.START + 9, 0x0A20, struct.pack("<II", 77, 0) + b"hello\0")
    log = encoder.header_buffer(events_lost=1) + encoder.buffer(event, processor=0)
    (tmp_path / "lab.etl").write_bytes(log)
    (tmp_path / "cut.etl").write_bytes(log[:-9])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands_with_json() -> list[str]:
    """Return the words of every command that has the option --json."""
    found = []
    waiting = [("", command_tree())]
    while waiting:
        name, one = waiting.pop()
        waiting += [(f"{name} {word}".strip(), inner) for word, inner in getattr(one, "commands", {}).items()]
        if any("--json" in parameter.opts for parameter in one.params):
            found.append(name)
    return found


def wrong(name: str, printed: dict[str, Any]) -> list[str]:
    """What the schema of a command has against a document; a key that it does not name is a mistake here."""
    return validate(SCHEMAS[f"{name.replace(' ', '-')}.json"], printed, closed=True)


def test_every_command_with_json_has_its_schema() -> None:
    """A new command gets its type in harness/cli/documents.py."""
    assert sorted(commands_with_json()) == sorted(DOCUMENTS)


def test_the_files_are_those_of_the_types() -> None:
    """``python -m tests.docs.schemas`` writes them."""
    files = {file.name: file.read_text("utf-8") for file in FOLDER.glob("*")}
    assert files == {name: text(schema) for name, schema in SCHEMAS.items()}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    """Every keyword is one of the dialect, and every reference leads somewhere."""
    check_schema(SCHEMAS[name])


@pytest.mark.parametrize(
    "words",
    [
        "check holds violated damaged",
        "check violated",
        "diff holds violated",
        "nightly --dry-run",
        "rules",
        "rules --id SYNC-EXACTLY-TWO",
        "doctor",
        "ps",
        "evidence show holds",
        "evidence pack holds --out holds.tar.gz",
        "observe show holds violated other",
        "observe diff holds other",
        "plan check veto ./wrong.toml",
        "etl info lab.etl",
        "etl info cut.etl",
        "etl stat lab.etl",
        "driver check lab.toml --unsigned",
        "driver manifest nosuch.man --out built",
        "template list",
    ],
)
def test_what_is_printed_is_what_the_schema_says(
    words: str, place: Path, capsys: Caught, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key is in the schema, and each that must be there is."""
    if words == "doctor":
        # One part that is there is enough: 0.2 s of processor time go into the versions of all programs.
        (place / "bin").mkdir()
        (place / "bin" / "gcc").symlink_to(shutil.which("gcc") or "gcc")
        monkeypatch.setenv("PATH", str(place / "bin"))
    main([*words.split(), "--json"])
    printed = json.loads(capsys.readouterr().out)
    name = next(name for name in sorted(DOCUMENTS, key=len, reverse=True) if words.startswith(name))
    if "error" in printed:
        name = "error"
    assert [] == wrong(name, printed)


@pytest.mark.host
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run", "run veto --guest host --runs runs"),
        ("run", "run ./refused.toml --guest host --runs runs"),
        ("accept", "accept veto --guest host --runs runs --no-compare"),
        ("repro", "repro runs/latest --runs again"),
    ],
)
def test_what_a_run_prints_is_what_the_schema_says(
    name: str, words: str, place: Path, capsys: Caught
) -> None:
    """A run that holds and one that ends early, the report of a case, and a run that is done again."""
    (place / "refused.toml").write_text('name = "a"\n[[do]]\nop = "load-driver"\nexpect = "refused"\n')
    if name == "repro":
        main(["run", "veto", "--guest", "host", "--runs", "runs", "--json"])
        capsys.readouterr()
    main([*words.split(), "--json"])
    assert [] == wrong(name, json.loads(capsys.readouterr().out))


def test_a_nightly_run_is_what_the_schema_says(place: Path) -> None:
    """With runs that are over, one of each kind."""
    matrix = decode_matrix('repeat = 3\n[[plan]]\nplan = "veto"\n', name="lab.toml", base=place)
    with open_nightly_run(place / "nightly", matrix, name="n") as state:
        kinds = [("holds", 0, ""), ("unknown", 64, FailureClass.PLAN)]
        for cell, (verdict, code, blamed) in zip(matrix.cells, kinds, strict=False):
            state.record(
                CellOutcome(cell=cell.id, state="done", verdict=verdict, exit_code=code, failure_class=blamed)
            )
        printed = msgspec.json.decode(msgspec.json.encode({"version": 1, **document(state, matrix)}))
    assert [] == wrong("nightly", printed)


def test_an_error_is_what_the_schema_says(place: Path, capsys: Caught) -> None:
    """A mistake of the command line, before and after it was taken apart."""
    for words in (["check", "nosuch-directory*"], ["nosuch"], ["check", "--nosuch"], ["run", "nosuch"]):
        assert 64 == main([*words, "--json"])
        assert [] == wrong("error", json.loads(capsys.readouterr().out))


def test_the_summary_that_is_kept_has_the_version_of_what_is_printed() -> None:
    """summary.json is the document that ``harness nightly --json`` prints."""
    assert summary.VERSION == JSON_VERSION
