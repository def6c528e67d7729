# SPDX-License-Identifier: MIT
"""The findings of an acceptance: its result for each line of the documents, in a file to commit and to compare.

A line is a rule, an open question of the contract, a statement on Windows (docs/windows.md) or a promise of the template.
What Windows showed confirms it, refutes it, or answers it; without evidence it is open. Any other guest
leaves every line open, and the file names the guest. Order and wording are the same each time; there are no
times and no paths.
"""

from __future__ import annotations

import os
from collections import Counter
from enum import StrEnum
from pathlib import Path

import msgspec

from harness.errors import BadDocument, UsageError, system_errors
from harness.history.json_file import indented, read_json
from harness.history.private import write_private

FORMAT = 1
"""Version of the file. A newer one is refused."""

LARGEST = 8 << 20
"""Maximum bytes of a file that is read."""


class Status(StrEnum):
    """The status of a line: of a question ``answered`` or ``open``, of all others one of the other three."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    ANSWERED = "answered"
    OPEN = "open"


class Showing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The evidence: ``run`` is a case, ``NN-name``, or another place; ``records`` are numbers in its history."""

    run: str
    records: list[int] = []
    words: str = ""


class QuestionValue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value that was seen for a question: the rule, "" for none, and its first evidence."""

    rule: str = ""
    value: str
    shown: Showing


class FindingLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a document. ``shown`` is its evidence, None if it is open; ``why`` says why it is open.

    ``level`` and ``source`` are a rule's. ``answers`` are a question's. On a guest other than Windows a line
    with ``shown`` is also open, and ``why`` says what that guest showed.
    """

    id: str
    says: str = ""
    level: str = ""
    source: str = ""
    status: Status
    why: str = ""
    shown: Showing | None = None
    answers: list[QuestionValue] = []


class GuestIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The guest of the findings; "" for unknown or missing values.

    ``windows`` is whether it is Windows, ``worth`` what its verdicts say about Windows. ``system`` is the
    name that it reports; ``edition``, ``build`` and ``digest`` are the template's; ``qemu`` and
    ``accelerator`` those of the runs.
    """

    guest: str
    windows: bool
    worth: str
    system: str = ""
    edition: str = ""
    build: str = ""
    digest: str = ""
    qemu: str = ""
    accelerator: str = ""
    harness: str


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """The file. ``cases`` has each case's outcome; the other four are the lines, in the order of their documents."""

    format: int = FORMAT
    about: GuestIdentity
    cases: dict[str, str]
    rules: list[FindingLine]
    questions: list[FindingLine]
    statements: list[FindingLine]
    promises: list[FindingLine]

    @property
    def kinds(self) -> dict[str, list[FindingLine]]:
        """Return the lines by their kind."""
        return {
            "rule": self.rules,
            "question": self.questions,
            "statement": self.statements,
            "promise": self.promises,
        }


class FindingChange(msgspec.Struct, frozen=True, kw_only=True):
    """A line that differs between two findings: its status or, for a question, its values.

    ``before`` and ``after`` are "" if the line is only in the other one.
    """

    kind: str
    id: str
    says: str
    before: str
    after: str


def changes(old: Findings, new: Findings) -> list[FindingChange]:
    """Return the lines that differ, in the new one's order; lines of the old one only come last."""
    found = []
    for kind, lines in new.kinds.items():
        before = {(line.id, line.says): line for line in old.kinds[kind]}
        after = {(line.id, line.says): line for line in lines}
        for key in dict.fromkeys([*after, *before]):
            was, now = _said(before.get(key)), _said(after.get(key))
            if was != now:
                found.append(FindingChange(kind=kind, id=key[0], says=key[1], before=was, after=now))
    return found


def _said(line: FindingLine | None) -> str:
    if line is None:
        return ""
    values = sorted({f"{answer.rule}: {answer.value}".removeprefix(": ") for answer in line.answers})
    return f"{line.status}: {'; '.join(values)}" if values else line.status


def counted(lines: list[FindingLine]) -> str:
    """Return the number of lines of each status, as text."""
    counts = Counter(line.status for line in lines)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]) or "none"


def check_place(file: Path) -> None:
    """Raise UsageError if ``file`` cannot be written; called before the runs, which take hours."""
    folder = file.parent
    if file.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        why = (
            "is a directory"
            if file.is_dir()
            else f"cannot be written: {folder} is not a directory that you may write to"
        )
        raise UsageError(f"{file} {why}", hint="Give a file in a directory that there is: --findings FILE.")


def write_findings(file: Path, found: Findings) -> None:
    """Write the file. Raises InfrastructureError."""
    with system_errors(
        f"cannot write the findings to {file}", hint="Give another place with --findings FILE."
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_private(file, indented(found))


def read_findings(file: Path) -> Findings:
    """Return the findings in a file.

    Raises UsageError if it cannot be read, BadDocument if it is not a file of findings or has a newer format.
    """
    with system_errors(str(file), hint="Give the findings.json that harness accept wrote.", kind=UsageError):
        file.stat()
    version = read_json(file, _Version, largest=LARGEST)
    if version is not None and version.format > FORMAT:
        raise BadDocument(
            f"{file} has findings of format {version.format}, and this harness knows {FORMAT}",
            hint="Use the harness that wrote it, or a newer one.",
        )
    found = read_json(file, Findings, largest=LARGEST)
    if found is None:
        raise BadDocument(
            f"{file} is not a file of findings", hint="Give the findings.json that harness accept wrote."
        )
    return found


class _Version(msgspec.Struct):
    format: int
