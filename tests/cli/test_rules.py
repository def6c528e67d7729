# SPDX-License-Identifier: MIT
"""harness rules: the table of rules, one rule explained, and what happens to an id that does not exist."""

import json

import pytest

from harness.cli.main import main
from harness.contract.example import examples as judged
from harness.contract.rules.catalogue import all_rules
from harness.errors import ExitCode
from harness.report.rule_text import one_rule_lines, rule_lines

Caught = pytest.CaptureFixture[str]


def test_the_table_is_printed(capsys: Caught) -> None:
    """Without an id all rules are listed."""
    assert [0, rule_lines(all_rules())] == [main(["rules"]), capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("spelling", ["SYNC-BARRIER", "sync-barrier", " Sync-Barrier "])
def test_one_rule_is_explained(spelling: str, capsys: Caught) -> None:
    """The id's case does not matter."""
    known = next(rule for rule in all_rules() if rule.id == "SYNC-BARRIER")
    assert [0, one_rule_lines(known, judged(known))] == [
        main(["rules", "--id", spelling]),
        capsys.readouterr().out.splitlines(),
    ]


def test_programs_get_every_rule_and_one_with_its_examples(capsys: Caught) -> None:
    """--json lists all rules; with an id the examples are judged too."""
    main(["rules", "--json"])
    listed = json.loads(capsys.readouterr().out)["rules"]
    main(["rules", "--id", "sync-barrier", "--json"])
    one = json.loads(capsys.readouterr().out)
    assert [rule.id for rule in all_rules()] == [rule["id"] for rule in listed]
    examples, version = one.pop("examples"), one.pop("version")
    assert (1, True) == (version, one in listed)
    assert ["holds", "violated"] == [example["verdict"]["verdict"] for example in examples]


@pytest.mark.parametrize(
    ("identifier", "hint"),
    [
        (
            "sync-barier",
            "Did you mean SYNC-BARRIER or SYNC-AGREE or SYNC-FIRST? All of them: harness rules",
        ),
        ("rebal", "All of them: harness rules"),
        ("zzzzzz", "All of them: harness rules"),
        ("\x1b[2J", "All of them: harness rules"),
    ],
)
def test_an_unknown_rule_is_64_with_what_may_have_been_meant(
    identifier: str, hint: str, capsys: Caught
) -> None:
    """A guess where there is one; the id is quoted harmlessly."""
    code = main(["rules", "--id", identifier])
    caught = capsys.readouterr()
    assert [ExitCode.USAGE, ""] == [code, caught.out]
    assert caught.err.startswith(f"harness: no rule is called {identifier!r}\n  ")
    assert caught.err.endswith(f"{hint}\n")
