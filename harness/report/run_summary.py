# SPDX-License-Identifier: MIT
"""The end of a run on one screen: what was done, what decided, where it lies, how to go on, and last of all the verdict.

At most 20 lines of 80 columns. What does not fit is counted, and the command that shows it stands beside the count. Lines
are shortened between words only, so that a path or a command is never cut: one that is longer gets a line of its own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.contract.explanation import describe, last_step, reproduction
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Finding, Level, RunVerdict, Verdict
from harness.history.driver import DriverRecord
from harness.history.reader import History
from harness.history.record import End, Record, RunFailure
from harness.history.run_directory import INDEX, lasting
from harness.invocation import invocation, quoted
from harness.report.causes import causes
from harness.report.escape import cell, printable
from harness.report.operations import OperationOutcome, Operations
from harness.report.sentence import sentence
from harness.report.style import PLAIN, Style
from harness.report.verdict_text import broken_rules, verdict_word

LINES, WIDTH = 20, 80
"""What a summary takes at most: a terminal of 24 lines shows it whole."""

FEWEST_OPERATIONS = 3
"""Operations that are shown even if what decided the verdict would take their lines."""

BROKEN = "violated rule"
"""What is counted of the rules that are not shown: the same as on the last line."""

MARKS = {"well": "✓", "badly": "✗", "open": "?"}


class Failure(NamedTuple):
    """What ended a run early: who is to blame, in which stage, and the message."""

    failure_class: str
    stage: str
    message: str


def summary_lines(
    verdict: RunVerdict,
    history: History,
    *,
    path: Path,
    failure: Failure | None = None,
    notes: Sequence[str] = (),
    lines: int = LINES,
    detailed: bool = False,
    style: Style = PLAIN,
) -> list[str]:
    """Return the summary of a judged run, of at most ``lines`` rows of 80 columns; the last one is the verdict.

    ``path`` is the run directory or the history file, as its user named it. ``failure`` is what ended the run, if its
    message was printed already; otherwise the history says it. ``notes`` are sentences that the caller has to add, before the coverage.
    ``detailed`` says that everything was printed before, so that no command need show it.
    """
    path = lasting(path)
    wanted = {witness.record for finding in verdict.findings for witness in finding.witnesses}
    seen = _Seen(history, wanted)
    told, failure = failure is not None, failure or seen.failure
    show = invocation("show", path)
    end = [row for note in notes for row in wrapped(printable(note, 1000), rows=3)]
    end += [coverage_line(verdict), *placed("History" if path.is_file() else "Run directory", quoted(path))]
    last = verdict_line(verdict, failure=failure, interrupted=seen.outcome == "interrupted", style=style)
    live = history.growing
    stopped = not live and (failure is not None or seen.outcome == "interrupted")
    go_on = _go_on(verdict, history, path, failure, stopped=stopped)
    if detailed and go_on == show and not live:
        go_on = reproduction(lasting(history.path.parent)) or show
    forward = placed("Go on", go_on) if go_on != show else []
    deciding = _deciding(verdict, seen.records, failure, told=told)
    show_rows = _rows(placed("", show)) + 1
    room = lines - _rows(end) - _rows(forward) - show_rows - 1
    done = seen.operations.outcomes
    blocks, left_blocks = _fitting(deciding, room - min(FEWEST_OPERATIONS, len(done)))
    room -= sum(map(len, blocks))
    operations, left = _chosen(done, room)
    told_rules = sum(block.kind == BROKEN for block in deciding[: len(blocks)])
    untold = max(0, len(broken_rules(verdict)) - told_rules)
    others = [block for block in left_blocks if block.kind != BROKEN]
    more = [
        text
        for text in (_counted(left, "operation"), _counted(untold, BROKEN), *_counted_blocks(others))
        if text
    ]
    if detailed:
        end += [f"and {', '.join(more)}: all above"] if more else []
    else:
        shown = f"and {', '.join(more)}" if more else "Timeline" if not forward else ""
        end += placed(shown, show) if shown else []
    body = [_operation(one) for one in operations] + [row for block in blocks for row in block]
    return [*(_painted(row, style) for row in body), *end, *forward, last]


def verdict_line(
    verdict: RunVerdict,
    *,
    failure: Failure | None = None,
    interrupted: bool = False,
    style: Style = PLAIN,
) -> str:
    """Return the verdict with its reason and its guest on one line, of at most 80 columns."""
    guest = cell(verdict.guest, 30) or "an unnamed guest"
    worth = "" if verdict.guest.startswith("windows") else " (not Windows)"
    head = f"{verdict.verdict.value.upper()} on {guest}{worth}: "
    word = verdict_word(verdict.verdict, style)
    reason = verdict_sentence(verdict, failure=failure, interrupted=interrupted, width=WIDTH - len(head))
    return word + head[len(verdict.verdict.value) :] + reason


def coverage_line(verdict: RunVerdict) -> str:
    """Return how much of the contract the run has put to the test, and which rules it broke that only warn."""
    rules = verdict.rules
    armed, exercised = sum(rule.armed for rule in rules), sum(rule.exercised > 0 for rule in rules)
    warnings = [
        finding.rule
        for finding in verdict.findings
        if finding.verdict is Verdict.VIOLATED and finding.level in (Level.WARN, Level.POLICY)
    ]
    names = ", ".join(printable(name, 60) for name in dict.fromkeys(warnings))
    warned = f"; {_counted(len(warnings), 'warning', of='')}: {names}" if warnings else ""
    return shortened(f"Coverage: {len(rules)} rules, {armed} armed, {exercised} exercised{warned}")


def shortened(text: str, width: int = WIDTH, *, clauses: bool = False) -> str:
    """Return ``text`` with as many of its first words as fit, and ``…`` for the rest; one word is never cut.

    With ``clauses`` what stands between two commas is not cut either, unless that would leave less than half a line.
    """
    if len(text) <= width:
        return text
    kept = ""
    indent = text[: len(text) - len(text.lstrip())]
    room = width - len(indent) - len(" …")
    for word in text.split():
        longer = f"{kept} {word}" if kept else word
        if kept and len(longer) > room:
            break
        kept = longer
    if clauses and (comma := f"{kept} ".rfind(", ")) > width // 2:
        kept = kept[: comma + 1]
    return f"{indent}{kept} …"


class _Seen:
    """What one pass over the history gives: the operations, the records that findings name, and how it ended."""

    def __init__(self, history: History, wanted: set[int]) -> None:
        self.operations = Operations()
        self.records: dict[int, Record] = {}
        self.failure: Failure | None = None
        self.outcome = ""
        try:
            for record in history:
                self.operations.take(record)
                if record.n in wanted:
                    self.records[record.n] = record
                if isinstance(record, RunFailure) and self.failure is None:
                    self.failure = Failure(record.failure_class, record.stage, record.message)
                elif isinstance(record, End):
                    self.outcome = record.outcome
        except OSError:
            # It was readable when it was judged; what was read is shown.
            return


class _Block(NamedTuple):
    """What is said of one broken rule, or of one thing that is missing."""

    kind: str
    rows: list[str]


def _deciding(
    verdict: RunVerdict, records: dict[int, Record], failure: Failure | None, *, told: bool
) -> list[_Block]:
    """Return what made the verdict what it is, the most important first."""
    if verdict.verdict is Verdict.VIOLATED:
        broken = causes(verdict.findings)
        first: dict[str, Finding] = {}
        for finding in broken:
            first.setdefault(finding.rule, finding)
        covered = set(first) | {line.partition(":")[0] for f in broken for line in f.consequences}
        blocks = [_Block(BROKEN, _violation(finding, records)) for finding in first.values()]
        rest = [reason for reason in verdict.reasons if reason.partition(":")[0] not in covered]
        return blocks + [_Block("reason", _bullet("?", reason)) for reason in rest]
    reasons = [reason for reason in verdict.reasons if failure is None or failure.message not in reason]
    blocks = [_Block("reason", _bullet("?", reason)) for reason in reasons]
    if failure is None:
        return blocks
    where = f"{printable(failure.stage, 40)} failed, {printable(failure.failure_class, 40)}"
    said = "" if told else f": {' '.join(failure.message.split())}"
    return [_Block("failure", _bullet("✗", where + said)), *blocks]


def _violation(finding: Finding, records: dict[int, Record]) -> list[str]:
    rule = find(finding.rule)
    attempt = f", {printable(finding.attempt, 40)}" if finding.attempt else ""
    rows = [f"✗ {printable(finding.rule, 60)}{attempt}"]
    says = f"{rule.says[:1].upper()}{rule.says[1:]}. " if rule is not None else ""
    reason = printable(finding.reason, 400)
    rows += wrapped(f"  {says}{reason[:1].upper()}{reason[1:]}:", rows=4)
    for witness in finding.witnesses:
        record = records.get(witness.record)
        text = printable(witness.text, 400)
        who = ""
        if record is not None and describe(record) == witness.text:
            text = sentence(record)
            who = (
                f", {printable(record.driver, 30)} #{record.seq}" if isinstance(record, DriverRecord) else ""
            )
        rows.append(shortened(f"    record {witness.record}{who}: {text}", clauses=True))
    if rule is not None:
        rows += [f"  see {page.strip()}" for page in rule.source.split(";")[:2]]
    return rows


def _bullet(mark: str, text: str) -> list[str]:
    return wrapped(f"{mark} {printable(text, 1000)}", rows=3)


def verdict_sentence(
    verdict: RunVerdict, *, failure: Failure | None = None, interrupted: bool = False, width: int = 400
) -> str:
    """Return why the verdict is what it is, without its guest, in at most ``width`` characters."""
    if verdict.verdict is Verdict.HOLDS:
        exercised = sum(rule.exercised > 0 for rule in verdict.rules)
        return shortened(f"{exercised} rules had something to judge, none is broken", width)
    if verdict.verdict is Verdict.VIOLATED:
        return _broken(verdict, width)
    if interrupted:
        return "interrupted before its end"
    if failure is not None:
        said = [line for line in failure.message.splitlines() if line.strip()] or [""]
        return shortened(f"{printable(failure.stage, 40)}: {printable(said[0].strip(), 400)}", width)
    more = len(verdict.reasons) - 1
    also = f" (and {more} more)" if more > 0 else ""
    first = printable("".join(verdict.reasons[:1]), 400)
    return shortened(first, width - len(also)) + also


def _broken(verdict: RunVerdict, width: int) -> str:
    rules = broken_rules(verdict)
    broken = causes(verdict.findings)
    first = broken[0].rule if broken else "".join(rules[:1])
    others = len(set(rules) - {first})
    also = f" and {_counted(others, 'more rule', of='')}" if others else ""
    plain = f"{printable(first, 60)}{also}"
    whole = f"{plain}: {printable(broken[0].reason, 400)}" if broken else plain
    return shortened(whole if not others or len(whole) <= width else plain, width)


def _go_on(
    verdict: RunVerdict, history: History, path: Path, failure: Failure | None, *, stopped: bool
) -> str:
    """Return the one command that leads on from here. ``stopped`` says whether something ended the run early."""
    directory = lasting(history.path.parent)
    if verdict.verdict is Verdict.VIOLATED:
        broken = causes(verdict.findings)
        step = last_step(history, broken[0]) if broken else 0
        return reproduction(directory, step=step) or invocation("show", path)
    if verdict.verdict is Verdict.UNKNOWN and stopped:
        if failure is not None and (directory / INDEX).is_file():
            return invocation("evidence", "show", directory)
        return reproduction(directory) or invocation("show", path)
    return invocation("show", path)


def _fitting(blocks: list[_Block], room: int) -> tuple[list[list[str]], list[_Block]]:
    """Return the blocks that fit into ``room`` rows, and those that do not; of the first one as much as fits."""
    shown: list[list[str]] = []
    for place, block in enumerate(blocks):
        if _rows(block.rows) > room:
            if place:
                return shown, blocks[place:]
            shown.append(block.rows[: max(1, room)])
            return shown, blocks[1:]
        shown.append(block.rows)
        room -= _rows(block.rows)
    return shown, []


def _chosen(outcomes: list[OperationOutcome], room: int) -> tuple[list[OperationOutcome], int]:
    """Return as many operations as fit, those that went wrong before the others, in their order; and how many are left."""
    wrong = [place for place, one in enumerate(outcomes) if one.state != "well"]
    right = [place for place, one in enumerate(outcomes) if one.state == "well"]
    kept = sorted([*wrong, *right][: max(0, room)])
    return [outcomes[place] for place in kept], len(outcomes) - len(kept)


def _operation(one: OperationOutcome) -> str:
    return shortened(f"{MARKS[one.state]} {one.index}. {one.text}", clauses=True)


def _counted(count: int, what: str, of: str = "more ") -> str:
    return f"{count} {of}{what}{'' if count == 1 else 's'}" if count else ""


def _counted_blocks(blocks: Iterable[_Block]) -> list[str]:
    kinds = [block.kind for block in blocks]
    return [_counted(kinds.count(kind), kind) for kind in dict.fromkeys(kinds)]


def placed(label: str, text: str) -> list[str]:
    """Return ``text``, which must not be cut, behind its label, or below it where the line would be too long."""
    if not label:
        return [text]
    line = f"{label}: {text}"
    return [line] if len(line) <= WIDTH else [f"{label}:", text]


def wrapped(text: str, *, rows: int = 3) -> list[str]:
    """Return ``text`` in at most ``rows`` rows, the later ones indented, the last one shortened; words are never cut."""
    indent = len(text) - len(text.lstrip()) or 2
    found = textwrap.wrap(
        text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    if len(found) > rows:
        found = [*found[: rows - 1], shortened(" ".join([found[rows - 1], *map(str.strip, found[rows:])]))]
    return found


def _rows(lines: Sequence[str]) -> int:
    """Return how many rows of a terminal ``lines`` take."""
    return sum(max(1, -(-len(line) // WIDTH)) for line in lines)


def _painted(row: str, style: Style) -> str:
    paint = {"✓": style.good, "✗": style.bad, "?": style.doubtful}.get(row[:1])
    return row if paint is None else paint(row[:1]) + row[1:]
