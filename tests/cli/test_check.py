# SPDX-License-Identifier: MIT
"""harness check: judges what is recorded, says what it cannot read, and writes nothing."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from decodes import counted_decodes
from report.junit_schema import checked, names
from report.records import hot_add

from harness.cli.main import main
from harness.contract.checker import judge_history
from harness.contract.explanation import explainer
from harness.contract.verdict import RunVerdict
from harness.errors import ExitCode
from harness.history.reader import History
from harness.history.record import Record
from harness.history.writer import HistoryWriter
from harness.report.run_summary import summary_lines
from harness.report.timeline import HEADING, timeline
from harness.report.verdict_text import verdict_lines

Caught = pytest.CaptureFixture[str]

HEADER = b'{"k":"header","n":1,"host_ns":1,"format":1,"harness":"0","run":"r","guest":"twin","wall":"w"}\n'


def record(directory: Path, records: list[Record]) -> Path:
    """Write a run directory with a history, as a run does, and return it."""
    directory.mkdir()
    with HistoryWriter(directory / "history.jsonl") as writer:
        for each in records:
            writer.write(each, host_ns=each.host_ns)
    return directory


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The run of one hot-add."""
    return record(tmp_path / "whole", hot_add().records)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The same run, but the driver never got its Start."""
    return record(tmp_path / "broken", hot_add(start=False).records)


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """The same run, killed while it wrote its record of the callback's return."""
    directory = record(tmp_path / "cut", hot_add().records)
    file = directory / "history.jsonl"
    text = file.read_bytes()
    file.write_bytes(text[: text.index(b'"sync.exit"') + 40])
    return directory


@pytest.mark.parametrize(("name", "code"), [("whole", 0), ("broken", 1), ("cut", 3)])
def test_one_run_is_judged_as_the_checker_judges_it(
    name: str, code: int, request: pytest.FixtureRequest, capsys: Caught
) -> None:
    """The text is the verdict's summary, and the exit code says holds, violated or unknown."""
    path: Path = request.getfixturevalue(name)
    history = History(path)
    expected = summary_lines(judge_history(history), history, path=path)
    assert [code, expected] == [main(["check", str(path)]), capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("name", ["whole", "broken", "cut"])
def test_the_whole_verdict_comes_before_the_summary(
    name: str, request: pytest.FixtureRequest, capsys: Caught
) -> None:
    """--full prints it, --verbose the timeline too, and the last line stays the verdict."""
    path: Path = request.getfixturevalue(name)
    history = History(path)
    verdict = judge_history(history)
    whole = [*verdict_lines(verdict, explain=explainer(history)), ""]
    summary = summary_lines(verdict, history, path=path, detailed=True)
    main(["check", "--full", str(path)])
    full = capsys.readouterr().out.splitlines()
    main(["check", "--verbose", str(path)])
    verbose = capsys.readouterr().out.splitlines()
    assert [*whole, *summary] == full
    assert [[HEADING, *timeline(history)], full] == [
        verbose[: len([*timeline(history)]) + 1],
        verbose[-len(full) :],
    ]


def test_a_history_file_is_as_good_as_its_directory(whole: Path, capsys: Caught) -> None:
    """The same run, named by its file, gets the same verdict."""
    verdicts = []
    for path in (whole, whole / "history.jsonl"):
        main(["check", "--json", str(path)])
        verdicts.append(json.loads(capsys.readouterr().out)["runs"][0]["verdict"])
    assert verdicts[0] == verdicts[1]


def test_a_run_that_was_killed_is_judged_up_to_there_and_never_holds(cut: Path, capsys: Caught) -> None:
    """A truncated history is unknown, and its timeline says where it stops."""
    code = main(["check", "--timeline", str(cut)])
    text = capsys.readouterr().out
    assert code == ExitCode.UNKNOWN
    assert "The history can be read up to here: line 14 is cut off" in text
    assert "\nUNKNOWN  run r1 on twin" in text


def test_the_timeline_comes_before_the_verdict(whole: Path, capsys: Caught) -> None:
    """--timeline prints the selection, --all with it one line for every record."""
    records = hot_add().records
    main(["check", "--timeline", str(whole)])
    chosen = capsys.readouterr().out.splitlines()
    main(["check", "--timeline", "--all", str(whole)])
    everything = capsys.readouterr().out.splitlines()
    assert [HEADING, *timeline(records)] == chosen[: chosen.index("")]
    assert [HEADING, *timeline(records, everything=True)] == everything[: everything.index("")]


def test_one_unreadable_run_does_not_keep_the_others_from_being_judged(
    whole: Path, cut: Path, tmp_path: Path, capsys: Caught
) -> None:
    """The unreadable one gets its message, the others their verdicts, the table has all, the worst code counts."""
    nothing = tmp_path / "nothing"
    code = main(["check", str(whole), str(nothing), str(cut)])
    caught = capsys.readouterr()
    assert code == ExitCode.USAGE
    assert caught.err == (
        f"harness: {nothing}: No such file or directory\n  A run directory holds a file called history.jsonl.\n"
    )
    lines = caught.out.splitlines()
    assert [
        ["verdict", "exit", "guest", "run"],
        ["holds", "0", "twin", str(whole)],
        ["unreadable", "64", str(nothing)],
        ["No", "such", "file", "or", "directory"],
        ["unknown", "3", "twin", str(cut)],
    ] == [line.split() for line in lines[:5]]
    assert "UNREADABLE: 3 runs: 1 hold, 1 unknown, 1 unreadable; exit code 64" == lines[-1]


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["whole", "whole"], 0),
        (["whole", "cut"], 3),
        (["cut", "broken", "whole"], 1),
        (["whole", "broken"], 1),
    ],
)
def test_the_worst_run_counts(names: list[str], code: int, request: pytest.FixtureRequest) -> None:
    """Violated outweighs unknown, unknown outweighs holds, in any order."""
    paths = [str(request.getfixturevalue(name)) for name in names]
    assert code == main(["check", *paths])


def test_json_is_one_document_with_every_run(whole: Path, cut: Path, tmp_path: Path, capsys: Caught) -> None:
    """Verdicts, errors and exit codes stand in one document in the order given; nothing else is printed."""
    code = main(["check", "--json", "--timeline", str(cut), str(tmp_path / "nothing"), str(whole)])
    caught = capsys.readouterr()
    document = json.loads(caught.out)
    assert [64, 64, ""] == [code, document["exit_code"], caught.err]
    assert document["runs"] == [
        {"path": str(cut), "exit_code": 3, "verdict": as_json(judge_history(History(cut)))},
        {
            "path": f"{tmp_path}/nothing",
            "exit_code": 64,
            "error": {
                "message": f"{tmp_path}/nothing: No such file or directory",
                "hint": "A run directory holds a file called history.jsonl.",
            },
        },
        {"path": str(whole), "exit_code": 0, "verdict": as_json(judge_history(History(whole)))},
    ]


def test_json_keeps_every_character_of_a_name(whole: Path, capsys: Caught) -> None:
    """Separators that some programs take for line ends do not change what is between the quotes."""
    odd = whole.rename(whole.with_name("a\u2028b\x85c\x0cd"))
    main(["check", "--json", str(odd), str(odd) + "x"])
    document = json.loads(capsys.readouterr().out)
    assert [str(odd), str(odd) + "x"] == [run["path"] for run in document["runs"]]


def as_json(verdict: RunVerdict) -> object:
    """The verdict as a program reads it."""
    return json.loads(msgspec.json.encode(verdict))


def test_full_prints_every_verdict_before_the_table(whole: Path, broken: Path, capsys: Caught) -> None:
    """Without --full several runs are a table alone."""
    main(["check", "--full", str(whole), str(broken)])
    full = capsys.readouterr().out.splitlines()
    main(["check", str(whole), str(broken)])
    table = capsys.readouterr().out.splitlines()
    texts = []
    for path in (whole, broken):
        history = History(path)
        texts.append(
            [*verdict_lines(judge_history(history), explain=explainer(history)), "", f"Run directory: {path}"]
        )
    assert [*texts[0], "", *texts[1], "", *table] == full


def test_junit_is_written_beside_what_is_printed(
    whole: Path, broken: Path, tmp_path: Path, capsys: Caught
) -> None:
    """The file has a suite for each run; nothing half-written stays beside it."""
    target = tmp_path / "reports"
    target.mkdir()
    code = main(["check", "--junit", str(target / "x.xml"), str(whole), str(broken)])
    suites = checked((target / "x.xml").read_bytes())
    directories = [one.get("value") for one in suites.iter("property") if one.get("name") == "directory"]
    assert [1, [str(whole), str(broken)]] == [code, directories]
    assert [target / "x.xml"] == list(target.iterdir())


def test_a_junit_file_that_cannot_be_written_is_said(whole: Path, tmp_path: Path, capsys: Caught) -> None:
    """A directory that is not there is said before anything is judged, one that refuses afterwards."""
    codes = [
        main(["check", "--junit", str(tmp_path / "no" / "x.xml"), str(whole)]),
        main(["check", "--junit", str(tmp_path), str(whole)]),
    ]
    caught = capsys.readouterr()
    assert [ExitCode.USAGE, ExitCode.INFRASTRUCTURE] == codes
    assert caught.err == (
        f"harness: --junit: there is no directory {tmp_path}/no\n  mkdir -p {tmp_path}/no\n"
        f"harness: cannot write {tmp_path}: Is a directory\n"
    )


def test_all_rules_for_no_file_are_refused(whole: Path, capsys: Caught) -> None:
    """--junit-all alone says what it needs, before anything is judged."""
    assert ExitCode.USAGE == main(["check", "--junit-all", str(whole)])
    assert ("", "harness: --junit-all needs --junit\n  Name the file: --junit FILE --junit-all.\n") == (
        capsys.readouterr()
    )


def test_a_broken_history_keeps_its_place_in_the_junit_file(whole: Path, tmp_path: Path) -> None:
    """A run whose history is empty is named after the guest and the plan that its run.json says."""
    (whole / "run.json").write_text('{"run": "r", "guest": "twin", "argv": [], "plan": {"name": "veto"}}')
    (whole / "history.jsonl").write_bytes(b"")
    assert ExitCode.USAGE == main(["check", "--junit", str(tmp_path / "x.xml"), str(whole)])
    assert [("twin.veto", "twin.veto", "run")] == names(checked((tmp_path / "x.xml").read_bytes()))


def test_a_run_named_twice_is_judged_once(whole: Path, capsys: Caught) -> None:
    """The link to the newest run and the run itself are one; the run's own name is kept."""
    latest = whole.parent / "latest"
    latest.symlink_to(whole.name)
    main(["check", "--json", str(latest), str(whole), str(whole)])
    document = json.loads(capsys.readouterr().out)
    assert [str(whole)] == [run["path"] for run in document["runs"]]


def test_a_run_is_decoded_once_to_be_judged_and_shown(broken: Path, capsys: Caught) -> None:
    """The timeline and the explanation come from what was decoded to judge."""
    with counted_decodes() as decodes:
        assert 1 == main(["check", "--timeline", str(broken)])
    assert (broken / "history.jsonl").read_bytes().count(b"\n") == len(decodes)
    assert HEADING in capsys.readouterr().out


def test_judging_again_writes_nothing(whole: Path) -> None:
    """The run directory holds the same files with the same content and times afterwards."""

    def snapshot() -> list[tuple[str, bytes, int]]:
        return [(f.name, f.read_bytes(), f.stat().st_mtime_ns) for f in sorted(whole.iterdir())]

    before = snapshot()
    main(["check", "--timeline", str(whole)])
    assert before == snapshot()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02" * 100, "line 1 is not a history header"),
        (b'{"k":"header","run":"\xff\xfe"}\n', "line 1 is a damaged header"),
        (b"x" * 5_000_000, "line 1 is not a history header"),
        (b"[" * 100_000, "line 1 is not a history header"),
        (b'{"k":"end","n":1}\n', "line 1 is a 'end' record"),
        (
            HEADER.replace(b'"format":1', b'"format":99'),
            "history format 99 is newer than the 1 this harness reads",
        ),
    ],
)
def test_what_is_no_history_is_said_to_be_none(
    tmp_path: Path, content: bytes, words: str, capsys: Caught
) -> None:
    """Empty, binary, huge, foreign and newer files get one message and 64, never a traceback."""
    file = tmp_path / "history.jsonl"
    file.write_bytes(content)
    code = main(["check", str(file)])
    caught = capsys.readouterr()
    assert [ExitCode.USAGE, ""] == [code, caught.out]
    assert caught.err.startswith(f"harness: {file}")
    assert words in caught.err
    assert len(caught.err) < 600


@pytest.mark.parametrize(
    "tail",
    [
        b"y" * 5_000_000,
        b'{"k":"nosuch","n":2}\n',
        b'{"k":"mark\xff","n":2}\n',
        b'{"k":"qmp","n":2,"direction":"in","message":' + b'{"a":' * 100_000 + b"\n",
        b'{"k":"end","n":7,"outcome":"completed"}\n',
    ],
)
def test_a_damaged_history_is_unknown(tmp_path: Path, tail: bytes, capsys: Caught) -> None:
    """A line too long, of an unknown kind, not UTF-8, nested too deep or out of order ends the history; it never holds."""
    file = tmp_path / "history.jsonl"
    file.write_bytes(HEADER + tail)
    assert ExitCode.UNKNOWN == main(["check", str(file)])
    assert capsys.readouterr().out.splitlines()[-1].startswith("UNKNOWN on twin (not Windows): ")


def test_a_directory_of_runs_and_a_pattern_mean_the_runs_in_them(
    whole: Path, cut: Path, capsys: Caught
) -> None:
    """runs, 'runs/*' in quotes and the runs one by one are the same set."""
    root = whole.parent
    (root / "notes.txt").write_text("no run")
    (root / "latest").symlink_to("whole")
    documents = []
    for words in ([str(root)], [f"{root}/*"], [str(cut), str(whole)]):
        main(["check", "--json", *words])
        documents.append(json.loads(capsys.readouterr().out))
    assert [str(cut), str(whole)] == [run["path"] for run in documents[0]["runs"]]
    assert [documents[0]] * 3 == documents


def test_a_directory_without_runs_and_a_pattern_without_a_match_are_said(
    tmp_path: Path, capsys: Caught
) -> None:
    """Neither is an empty set that holds."""
    codes = [main(["check", str(tmp_path)]), main(["check", f"{tmp_path}/x*"])]
    assert [ExitCode.USAGE] * 2 == codes
    assert capsys.readouterr().err == (
        f"harness: {tmp_path} is neither a run nor a directory of runs\n"
        "  A run directory holds a file called history.jsonl.\n"
        f"harness: no run matches '{tmp_path}/x*'\n"
        "  A run is a directory with a history.jsonl.\n"
    )


def test_a_name_that_is_too_long_is_no_run(tmp_path: Path, capsys: Caught) -> None:
    """A name that no file system takes keeps no other run from being judged."""
    long, other = "x" * 300, str(tmp_path / "other")
    assert ExitCode.USAGE == main(["check", long, other])
    said = capsys.readouterr().err
    assert [True, True] == [f"{word}: " in said for word in (long, other)]
    assert "File name too long" in said


@pytest.mark.parametrize("there", [True, False])
def test_a_path_that_is_not_utf_8_is_in_the_document(there: bool, tmp_path: Path, capsys: Caught) -> None:
    """JSON has no place for such a byte, so that its escape is there; the run is judged all the same."""
    path = tmp_path / os.fsdecode(b"run-\xff")
    if there:
        record(path, hot_add().records)
    code = main(["check", "--json", str(path)])
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (code, f"{tmp_path}/run-\\udcff", there) == (run["exit_code"], run["path"], "verdict" in run)


def test_a_named_pipe_does_not_hang(tmp_path: Path, capsys: Caught) -> None:
    """A pipe without a writer is refused at once."""
    os.mkfifo(tmp_path / "history.jsonl")
    assert ExitCode.USAGE == main(["check", str(tmp_path)])
    assert "history.jsonl: not a regular file" in capsys.readouterr().err
