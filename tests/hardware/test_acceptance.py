# SPDX-License-Identifier: MIT
"""harness accept: its cases, its report, and what it says of a guest that fails, cannot show something, or never boots."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness.acceptance.acceptance import Acceptance, accept, unsuited
from harness.acceptance.case import Case, all_cases, decode_case, find_cases
from harness.acceptance.questions import UNANSWERED
from harness.acceptance.report import closing_lines, markdown
from harness.acceptance.result import CaseOutcome, CaseResult
from harness.cli.main import main
from harness.errors import BadDocument, ExitCode, UsageError
from harness.report.style import Style
from harness.run.options import Timeouts
from harness.run.request import RunRequest

Caught = pytest.CaptureFixture[str]


def test_cases_are_numbered_and_named_once() -> None:
    """Every case has a number, a name, an expectation and a page of its own; those of the plan's list are there."""
    cases = all_cases()
    assert len(cases) == len({case.number for case in cases}) == len({case.name for case in cases})
    assert set(range(1, 23)) <= {case.number for case in cases}
    assert [] == [case.name for case in cases if not case.source or not case.expected]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('exercises = ["NO-SUCH-RULE"]', "no rule is called 'NO-SUCH-RULE'"),
        ('ends = "well"', "ends"),
        ("numbr = 3", "Did you mean"),
    ],
)
def test_mistakes_in_a_case_are_named(text: str, said: str) -> None:
    """A rule that does not exist, a value that is none, a key that is misspelt."""
    document = f'number = 1\nname = "x"\nexpected = "y"\nsource = "z"\n{text}\n[[do]]\nop = "settle"\n'
    with pytest.raises(BadDocument) as caught:
        decode_case(document, name="case.toml")
    assert said in str(caught.value)


def test_cases_are_found_by_number_and_name() -> None:
    """In the order of their numbers, each once; what does not exist is refused with what there is."""
    assert [2, 16] == [case.number for case in find_cases(["groups", "2", "02"])]
    with pytest.raises(UsageError, match="no case is called 'veot'"):
        find_cases(["veot"])


def test_list(capsys: Caught) -> None:
    """--list names each case and runs none."""
    assert ExitCode.HOLDS == main(["accept", "--list"])
    said = capsys.readouterr().out
    assert [] == [case.name for case in all_cases() if case.name not in said]


def test_clients_are_asked_something_else() -> None:
    """A client edition is not asked to take a processor in place; no other guest is asked to wait for a restart."""
    asked = {
        guest: [case.number for case in all_cases() if not unsuited(case, guest)]
        for guest in ("twin", "windows-11", "windows-server-2025")
    }
    assert [15 in asked[guest] or 26 in asked[guest] for guest in asked] == [True, True, True]
    assert [False, True, False] == [28 in asked[guest] for guest in asked]
    assert [True, False, True] == [2 in asked[guest] for guest in asked]
    assert [False, False, True] == [11 in asked[guest] for guest in asked]


@pytest.mark.qemu
def test_report_of_the_twin(run_forked: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """What passed, what cannot be shown, answers to the questions, and the evidence are in the report."""
    code, out, err = run_forked(
        "accept", "2", "11", "19", "--accel", "tcg", "--runs", str(tmp_path), seconds=180
    )
    assert (ExitCode.HOLDS, "") == (code, err[:0])
    assert "2 passed, 1 skipped" in out
    found = msgspec.json.decode((tmp_path / "accept.json").read_bytes(), type=Acceptance)
    assert [CaseOutcome.PASSED, CaseOutcome.SKIPPED, CaseOutcome.PASSED] == [
        one.outcome for one in found.results
    ]
    assert [True, False, True] == [
        Path(one.directory).is_dir() and bool(one.directory) for one in found.results
    ]
    answers = {one.question: one.answer for one in found.questions}
    assert "(0x1, 0x0) (1x)" == answers["Which _OST does it give to a processor that the driver vetoed?"]
    assert UNANSWERED == answers["Does a DIMM on node 1 arrive?"]
    report = (tmp_path / "report.md").read_text()
    assert ("| 2 veto | passed |" in report, "says nothing about Windows itself" in report) == (True, True)


@pytest.mark.qemu
def test_case_that_fails_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that breaks the contract fails the case; one that shows nothing of it leaves it unknown."""
    import os

    from harness.setup.cache import cache_directory

    def request(case: Case, guest: str) -> RunRequest:
        return RunRequest(
            plan=case.plan, guest=guest, accelerator="tcg", restore=True, runs=tmp_path, argv=[],
            cache=cache_directory(os.environ), inject_fault="missing-complete" if case.number == 7 else "",
            budget=Timeouts(consequence=2.5),
        )  # fmt: skip

    idle = msgspec.structs.replace(find_cases(["15"])[0], exercises=["VETO-NO-COMPLETE"])
    told: list[CaseResult] = []
    found = accept(
        [find_cases(["7"])[0], idle], request, "twin",
        compare=False, soak=False, started="now", told=told.append,
    )  # fmt: skip
    assert [CaseOutcome.FAILED, CaseOutcome.UNKNOWN] == [one.outcome for one in told]
    assert ExitCode.VIOLATED is found.exit_code
    assert ["nothing was seen that VETO-NO-COMPLETE could judge"] == told[1].why
    assert any("Complete" in why for why in told[0].why)


@pytest.mark.qemu
def test_guest_that_does_not_boot_is_booted_once(tmp_path: Path) -> None:
    """The cases after it say that and why, and are not tried."""
    import os

    from harness.setup.cache import cache_directory

    def request(case: Case, guest: str) -> RunRequest:
        return RunRequest(
            plan=msgspec.structs.replace(case.plan, machine=find_cases(["2"])[0].machine), guest=guest,
            accelerator="tcg", runs=tmp_path / "runs", argv=[], cache=cache_directory(os.environ),
            budget=Timeouts(boot=0.01),
        )  # fmt: skip

    told: list[CaseResult] = []
    found = accept(
        find_cases(["2", "15"]), request, "twin",
        compare=False, soak=False, started="now", told=told.append,
    )  # fmt: skip
    assert [CaseOutcome.UNKNOWN, CaseOutcome.UNKNOWN] == [one.outcome for one in told]
    assert (True, "") == ("did not boot before" in told[1].why[0], told[1].directory)
    assert ExitCode.UNKNOWN is found.exit_code


@pytest.mark.qemu
def test_transcripts_are_compared_with_the_twin(
    run_forked: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """A guest other than the twin is held against it, case by case."""
    code, out, _err = run_forked(
        "accept", "2", "--guest", "host", "--runs", str(tmp_path), "--json", seconds=180
    )
    document = json.loads(out)
    assert (ExitCode.HOLDS, "host") == (code, document["guest"])
    assert [(2, "agree")] == [(one["number"], one["verdict"]) for one in document["compared"]]


def test_hostile_words_are_harmless_in_the_report() -> None:
    """What a guest made up becomes neither a table, nor a link, nor an escape sequence."""
    evil = "a|b](http://x)<script>\x1b[2J\n# head"
    result = CaseResult(
        number=1, name="x", guest="twin", outcome=CaseOutcome.FAILED, expected="e", source="s", seen=[evil], why=[evil],
        directory="/runs/1", exit_code=ExitCode.VIOLATED,
    )  # fmt: skip
    found = Acceptance(
        guest="twin", build=evil, started="now", results=[result], questions=[], observations={evil: {evil: 1}},
    )  # fmt: skip
    text = markdown(found)
    assert [] == [sign for sign in ("<script>", "\x1b", "](http", "\n# head") if sign in text]
    assert 1 == sum(line.startswith("| 1 x |") for line in text.splitlines())
    assert [] == [line for line in closing_lines(found, Style(colour=False)) if "\x1b" in line]
