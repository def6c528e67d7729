# SPDX-License-Identifier: MIT
"""harness observe: sets of runs by directory, pattern or list, shown per build and side by side."""

import json
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.contract.notation import trace
from harness.errors import ExitCode
from harness.history.writer import HistoryWriter

Caught = pytest.CaptureFixture[str]


def recorded(directory: Path, text: str, *, guest: str, kernel: str = "") -> Path:
    """A run directory as a run leaves it, holding the history of a trace."""
    directory.mkdir(parents=True)
    with HistoryWriter(directory / "history.jsonl") as writer:
        for record in trace(text, run=directory.name, guest=guest):
            writer.write(record, host_ns=record.host_ns)
    facts = {"run": directory.name, "plan": {"name": "veto"}, "kernel_release": kernel}
    (directory / "run.json").write_bytes(msgspec.json.encode(facts))
    return directory


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Two runs of one build, in which the vetoing driver gets its Failure."""
    for name in ("one", "two"):
        recorded(tmp_path / "old" / name, "S2! F2", guest="windows-server-2022", kernel="20348")
    return tmp_path / "old"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A run of another build, in which it does not."""
    recorded(tmp_path / "new" / "three", "a:S2 b:S2! a:F2", guest="windows-server-2025", kernel="26100")
    return tmp_path / "new"


def compared(capsys: Caught, first: str, second: str) -> dict[str, object]:
    """What diff --json prints."""
    assert main(["observe", "diff", "--json", first, second]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_two_builds_differ_where_they_do(old: Path, new: Path, capsys: Caught) -> None:
    """The question, the mark, and the values with times and runs of both sets."""
    document = compared(capsys, str(old), str(new))
    assert {"name": str(old), "runs": 2, "builds": {"windows-server-2022 20348": 2}} == document["a"]
    questions = {question["rule"]: question for question in document["questions"]}  # type: ignore[attr-defined]
    asked = questions["VETO-SELF-FAILURE"]
    assert ["different", {"yes": {"times": 2, "runs": 2}}, {"no": {"times": 1, "runs": 1}}] == [
        asked["mark"], asked["a"]["values"], asked["b"]["values"]
    ]  # fmt: skip


def test_a_set_may_be_a_directory_a_pattern_or_a_list(old: Path, new: Path, capsys: Caught) -> None:
    """All ways of naming two runs of a set give the same answers."""
    (old / "latest").symlink_to("two")
    words = [
        f"{old}",
        f"{old}/*",
        f"{old}/one:{old}/two",
        f"{old}/*e:{old}/two/history.jsonl",
        f"{old}:{old}",
    ]
    documents = [compared(capsys, word, str(new)) for word in words]
    assert [documents[0]["questions"]] * len(words) == [document["questions"] for document in documents]


def test_the_text_says_which_set_is_which(old: Path, new: Path, capsys: Caught) -> None:
    """A and B are named with their builds; Windows needs no caveat."""
    assert main(["observe", "diff", str(old), str(new)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [
        f"A  {old}: 2 runs, 2 of windows-server-2022 20348",
        f"B  {new}: 1 run, 1 of windows-server-2025 26100",
    ] == lines[:2]
    place = lines.index("DIFFERENT  Does the vetoing callback get its own Failure?   (VETO-SELF-FAILURE)")
    assert [["yes", "A", "2x", "(2", "runs)", "B", "-", "only", "A"], ["no", "A", "-", "B", "1x", "(1", "run)", "only", "B"]] == [
        line.split() for line in lines[place + 1 : place + 3]
    ]  # fmt: skip


def test_show_has_an_answer_per_build(old: Path, new: Path, capsys: Caught) -> None:
    """Each build is counted on its own."""
    assert main(["observe", "show", "--json", str(old), str(new)]) == 0
    builds = json.loads(capsys.readouterr().out)["builds"]
    assert [("windows-server-2022 20348", 2), ("windows-server-2025 26100", 1)] == [
        (one["build"], one["runs"]) for one in builds
    ]
    assert main(["observe", "show", str(old), str(new)]) == 0
    text = capsys.readouterr().out
    assert (
        "\n  windows-server-2022 20348  yes  2x (2 runs)\n  windows-server-2025 26100  no  1x (1 run)\n"
        in text
    )


def test_a_run_that_cannot_be_read_is_said_and_the_others_are_shown(
    old: Path, new: Path, tmp_path: Path, capsys: Caught
) -> None:
    """The exit code is that run's, and the sets are of what could be read."""
    (new / "bad").mkdir()
    (new / "bad" / "history.jsonl").write_bytes(b"\x00")
    code = main(["observe", "diff", str(old), str(new)])
    caught = capsys.readouterr()
    assert [ExitCode.USAGE, True] == [
        code,
        caught.err.startswith(f"harness: {new}/bad/history.jsonl: line 1 is no"),
    ]
    assert f"B  {new}: 1 run, " in caught.out


@pytest.mark.parametrize("word", ["nothing", "empty", "empty/*", "nothing:alike"])
def test_an_empty_set_is_misuse(word: str, old: Path, tmp_path: Path, capsys: Caught) -> None:
    """There is nothing to compare with, and that is said."""
    (tmp_path / "empty").mkdir()
    words = ":".join(str(tmp_path / part) for part in word.split(":"))
    code = main(["observe", "diff", str(old), words])
    caught = capsys.readouterr()
    assert [ExitCode.USAGE, ""] == [code, caught.out]
    assert caught.err.startswith("harness: ")
