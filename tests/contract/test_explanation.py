# SPDX-License-Identifier: MIT
"""A violated rule speaks: the records, the contradiction, whether a clock is to blame, and how to see it again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.contract.checker import judge, judge_history
from harness.contract.explanation import describe, explain, explainer, printable, reproduction
from harness.contract.notation import trace
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Finding
from harness.history.reader import History
from harness.history.record import OperationProgress, Record


def finding(text: str, rule: str) -> Finding:
    """The first thing ``rule`` has to say of the trace."""
    return next(found for found in judge(trace(text)).findings if found.rule == rule)


def told(text: str, rule: str) -> list[str]:
    return explain(finding(text, rule), find(rule), reproduce="harness demo --inject-fault x")


def test_an_order_within_a_driver_is_contradicted_by_its_numbers() -> None:
    """Complete before Start: two records, the clause, the edge with its reason, no clock to blame, and what follows from it."""
    lines = told("cpus=2 [S0 S1 C0 C1] Q +cpu C2 S2", "SYNC-START-BEFORE-COMPLETE")
    heads = [line.split("   ")[0] or line for line in lines]
    assert [
        "VIOLATED  SYNC-START-BEFORE-COMPLETE  processor 2",
        "Let:",
        "  E1 = record 19  driver a  Complete entered  NtNumber=2",
        "  E2 = record 21  driver a  Start entered  NtNumber=2",
        "Then:",
        "  - Start must come before Complete, because Windows announces a processor before it adds it.",
        "  - However, Complete of processor 2 came before its Start:",
        "    E1 < E2, because both were logged by driver a under its lock and #12 precedes #14: a contradiction!",
        "Not the clock: the order rests on program order, no two times were compared.",
        "The same cause also breaks:",
        "  - SYNC-BARRIER: registration 1 of driver a got Complete for processor 2 before Start had begun in registration 1 of driver a",
        "Reproduce:  harness demo --inject-fault x",
    ] == heads


def test_an_order_between_drivers_rests_on_the_counter_and_says_so() -> None:
    """The barrier across drivers is shown by the shared counter; the reader is told that a clock could matter."""
    lines = told("a:S2 a:C2 b:S2 b:C2 a:V b:V", "SYNC-BARRIER")
    assert [True, True] == [
        any("both drivers read the same performance counter" in line for line in lines),
        any(line.startswith("The clock could matter") for line in lines),
    ]


def test_a_registration_is_named_in_words() -> None:
    """Each registration is one of a driver, and one processor is not "1 processors"."""
    assert [
        "registration 1 of driver a got Complete for processor 2 before Start had begun in registration 1 of driver b",
        "1 processor was added while registration 2 of driver a was in force, and no arrival came for 1 until the history ended",
    ] == [
        finding(text, rule).reason
        for text, rule in (("a:S2 a:C2 b:S2 b:C2", "SYNC-BARRIER"), ("S2 C2", "ASYNC-EVENTUALLY"))
    ]


def test_a_missing_record_is_shown_by_the_silence() -> None:
    """A Start without an end is shown with the record that proves the guest was alive and quiet."""
    shown = finding("S2 V", "SYNC-START-CLOSED").witnesses
    assert [("E1", "driver a  Start entered  NtNumber=2"), ("E2", "host  quiesced")] == [
        (witness.name, witness.text.split("   ")[0][:37].partition("  nonce")[0]) for witness in shown
    ]


def test_every_violation_shows_one_to_five_records() -> None:
    """No example of a rule is violated without at least one record to show."""
    from harness.contract.rules.catalogue import all_rules

    def told(rule: str, text: str) -> Finding:
        """The finding of a rule, or the one that names it among its consequences."""
        return next(
            found
            for found in judge(trace(text)).findings
            if found.rule == rule or any(line.startswith(f"{rule}: ") for line in found.consequences)
        )

    counts = {
        rule.id: len(told(rule.id, rule.violates).witnesses)
        for rule in all_rules()
        if rule.violates and rule.decides and rule.level != "gate"
    }
    assert {} == {rule: count for rule, count in counts.items() if not 1 <= count <= 5}


def test_strings_of_the_guest_are_made_printable() -> None:
    """Escape sequences, line breaks and endless names reach no terminal."""
    assert "\\x1b[31m\\u2028x" == printable("\x1b[31m\u2028x")
    assert 201 == len(printable("a" * 5000))
    record = next(record for record in trace("S2 C2 V") if record.__struct_config__.tag == "async.enter")
    text = describe(msgspec.structs.replace(record, link="\x1b]0;x\x07" * 100, cls="\n"))
    assert (True, 200 // 6) == (text.isprintable(), text.count("\\x1b]0;x"))


def test_the_command_that_recorded_a_run_is_taken_from_its_facts(tmp_path: Path) -> None:
    """run.json beside the history says how to make it happen again; without it nothing is claimed."""
    records = trace("C2 V")
    (tmp_path / "history.jsonl").write_bytes(
        b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    )
    history = History(tmp_path)
    broken = finding("C2 V", "SYNC-START-BEFORE-COMPLETE")
    without = explainer(history)(broken)[-1]
    (tmp_path / "run.json").write_text('{"argv": ["/somewhere/harness", "demo", "--inject-fault", "a b"]}')
    with_facts = explainer(history)(broken)[-1]
    (tmp_path / "run.json").write_text("[1")
    damaged = explainer(history)(broken)[-1]
    assert (False, "Reproduce:  harness demo --inject-fault 'a b'", False) == (
        without.startswith("Reproduce"),
        with_facts,
        damaged.startswith("Reproduce"),
    )


def test_a_run_that_says_what_it_was_made_of_is_done_again_up_to_the_step(tmp_path: Path) -> None:
    """The command names the operation during which the finding's last record came, and the directory, quoted."""
    run = tmp_path / "r 1"
    run.mkdir()
    (run / "run.json").write_text('{"argv": ["harness", "run", "p"], "plan": {"name": "p"}}')
    records = trace("C2 V")
    last = max(place for place, record in enumerate(records) if record.__struct_config__.tag == "sync.enter")
    # The trace has an operation of its own before these.
    begun: list[Record] = [OperationProgress(index=n, name="add-cpu", phase="begin") for n in (1, 2)]
    records = [*records[:last], *begun, *records[last:]]
    numbered = [msgspec.structs.replace(record, n=n) for n, record in enumerate(records, 1)]
    (run / "history.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in numbered))
    history = History(run)
    (broken,) = [x for x in judge_history(history).findings if x.rule == "SYNC-START-BEFORE-COMPLETE"]
    assert f"Reproduce:  harness repro '{run}' --step 3" == explainer(history)(broken)[-1]
    assert f"harness repro '{run}'" == reproduction(run)
