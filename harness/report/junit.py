# SPDX-License-Identifier: MIT
"""Verdicts as JUnit XML, for GitLab's unit test reports and Jenkins' JUnit plugin.

A run is a test suite. Its first test case, ``run``, says whether the run came to an end that proves something; each rule
that had something to judge is one more::

    a rule of the contract or of the driver is violated   failure of that rule, with the records that show it
    only a rule about the run itself is violated          error of that rule
    another rule tells the same cause                     skipped, with the rule that tells it
    a rule is unknown or had nothing to judge             skipped, with the reason
    anything else                                         passed; a warning or an observation is its output
    the run is unknown, or cannot be read                 error of ``run``, with who is to blame and the reasons
    the run was not made                                  ``run`` is skipped, with the reason

So a suite is red exactly if its run does not hold, and one cause makes one case red. Suites and cases are named after what
was run, ``GUEST.PLAN`` and the rule's id, and never after a time, a run or a path: a tool shows a rule's past by its name.
The second run of one plan is ``GUEST.PLAN#2``. Run, directory and versions are properties of the suite.

GitLab reads the text of ``failure``, ``error`` and ``skipped``, Jenkins reads their attribute ``message`` too, so both say
the reason. Histories are hostile: what XML cannot carry, or a reader would not see or would act on, is escaped.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from harness import __version__
from harness.contract.explanation import explain, explainer, reproduction
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Finding, Judged, Level, RuleVerdict, RunVerdict, Verdict
from harness.errors import BadHistory
from harness.history.private import write_private
from harness.history.reader import History
from harness.report.escape import printable
from harness.report.style import PLAIN
from harness.report.verdict_text import MINOR, headline

MOST_FINDINGS = 3
"""Findings that are explained in one test case; the rest are counted."""

MOST_LINES = 100
"""Lines of one test case that are written; the rest are counted."""

LONGEST = 2000
"""Characters of one line that are written."""

LONGEST_TIME = 1e9
"""Seconds of the longest time that is written, so that a forged history has one that a reader takes."""

RUN = "run"
"""The name of the test case for the run itself."""

BLAMED = {Level.ERROR: "contract", Level.ERROR_DRIVER: "driver"}
"""Levels whose violation is a failure, with who is to blame for it; that of another level is an error."""

Explained = Callable[[Finding], list[str]]
"""What the lines of a finding are made by."""

COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_BETWEEN_WORDS = re.compile(r"[\s/]+")


class JUnit:
    """Takes the runs one by one; :meth:`document` is the XML of all of them, whose root is called ``name``.

    ``everything`` writes a test case for the rules too that had nothing to judge.
    """

    def __init__(self, name: str = "harness check", *, everything: bool = False) -> None:
        self._name = name
        self._everything = everything
        # As text, because elements take ten times as much memory and there may be thousands of runs.
        self._suites: list[bytes] = []
        self._totals: Counter[str] = Counter()
        self._seconds = 0.0
        self._labels: set[str] = set()
        self._again: Counter[str] = Counter()

    def add(self, run: Judged, point: str = "") -> None:
        """Take one run. ``point`` names what was run, if guest and plan alone do not."""
        suite = _Suite(self._label(point or f"{run.guest or 'guest'}.{run.plan or 'run'}"))
        suite.seconds = min(max(run.seconds, 0.0), LONGEST_TIME)
        with suppress(ValueError):
            suite.started = f"{datetime.strptime(run.started, _TIME).isoformat()}Z"
        directory = run.path if run.path.is_dir() else run.path.parent
        reproduce = reproduction(directory)
        _properties(suite, run, reproduce)
        case = suite.case(RUN, suite.seconds)
        if run.verdict is None:
            suite.say(case, "error", "unreadable", run.error, [run.error, *run.hint.splitlines()])
        else:
            explained = _explainer(run.path, reproduce)
            for rule in run.verdict.rules:
                if rule.exercised or self._everything:
                    _rule(suite, rule, run.verdict, explained)
            _run(suite, case, run, run.verdict)
        self._take(suite)

    def skip(self, point: str, reason: str) -> None:
        """Take a run that was not made, for a reason. ``point`` names what was to be run."""
        suite = _Suite(self._label(point))
        suite.say(suite.case(RUN), "skipped", "", reason, [reason])
        self._take(suite)

    def document(self) -> bytes:
        """Return the whole document, UTF-8."""
        root = ET.Element("testsuites", name=_text(self._name))
        for name in ("tests", "failures", "errors"):
            root.set(name, str(self._totals[name]))
        root.set("time", _seconds(self._seconds))
        # Its two tags, between which the suites go; no attribute can hold the line feed and bracket that part them.
        root.text = "\n"
        begin, end = ET.tostring(root, encoding="utf-8", xml_declaration=True).split(b"\n</", 1)
        return b"\n".join([begin, *(b"  " + suite for suite in self._suites), b"</" + end, b""])

    def _label(self, point: str) -> str:
        plain = label = _stable(point)
        while label in self._labels:
            # It goes on where it ended for the last run of this name: there may be thousands.
            self._again[plain] += 1
            label = f"{plain}#{self._again[plain] + 1}"
        self._labels.add(label)
        return label

    def _take(self, suite: _Suite) -> None:
        self._totals += suite.counts
        self._seconds += suite.seconds
        self._suites.append(suite.text())


class _Suite:
    """The element of one run, and what its cases came to. ``started`` is "" if it is not known."""

    def __init__(self, label: str) -> None:
        self.element = ET.Element("testsuite", name=label)
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0
        self.started = ""
        self._label = label

    def case(self, name: str, seconds: float = 0.0) -> ET.Element:
        self.counts["tests"] += 1
        attributes = {"classname": self._label, "name": _stable(name), "time": _seconds(seconds)}
        return ET.SubElement(self.element, "testcase", attributes)

    def say(self, case: ET.Element, tag: str, kind: str, message: str, body: Sequence[str]) -> None:
        self.counts[COUNTED[tag]] += 1
        said = ET.SubElement(case, tag, message=_text(message))
        if kind:
            said.set("type", _text(kind))
        said.text = _block(body)

    @property
    def red(self) -> int:
        return self.counts["failures"] + self.counts["errors"]

    def text(self) -> bytes:
        for name in ("tests", *COUNTED.values()):
            self.element.set(name, str(self.counts[name]))
        self.element.set("time", _seconds(self.seconds))
        if self.started:
            self.element.set("timestamp", self.started)
        ET.indent(self.element, level=1)
        text: bytes = ET.tostring(self.element, encoding="utf-8")
        return text


def _text(value: object) -> str:
    # GitLab takes [[ATTACHMENT|path]] in an output for a link to a file of the job.
    return printable(str(value), LONGEST).replace("[[ATTACHMENT", r"[\[ATTACHMENT")


def _stable(name: str) -> str:
    """Return the name of a suite or a case: one word, so that no tool cuts it or takes it for a path."""
    return _BETWEEN_WORDS.sub("-", _text(name)) or "-"


def _block(lines: Sequence[str]) -> str:
    shown = [_text(line) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(f"… and {len(lines) - MOST_LINES} more lines")
    return "\n".join(shown)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _properties(suite: _Suite, run: Judged, reproduce: str) -> None:
    facts: dict[str, object] = {
        "directory": run.path,
        "exit code": int(run.exit_code),
        "build": run.build,
        "plan": run.plan,
        "harness": __version__,
        "reproduce": reproduce,
    }
    if run.verdict is not None:
        rules = run.verdict.rules
        facts |= {
            "run": run.verdict.run,
            "verdict": run.verdict.verdict.value,
            "failure class": run.verdict.failure_class,
            "rules": len(rules),
            "rules exercised": sum(rule.exercised > 0 for rule in rules),
        }
    properties = ET.SubElement(suite.element, "properties")
    for name, value in facts.items():
        if value != "":
            ET.SubElement(properties, "property", name=name, value=_text(value))


def _run(suite: _Suite, case: ET.Element, run: Judged, verdict: RunVerdict) -> None:
    """Fill the case of the run itself, once the rules have theirs: what a rule tells is not told again."""
    said = headline(verdict, PLAIN)
    if verdict.verdict is Verdict.HOLDS or (verdict.verdict is Verdict.VIOLATED and suite.red):
        ET.SubElement(case, "system-out").text = _block([said, *([run.ended] if run.ended else [])])
        return
    reasons = [reason for reason in (run.ended, *verdict.reasons) if reason] or [verdict.verdict.value]
    suite.say(case, "error", verdict.failure_class or "unknown", reasons[0], [said, *reasons])


def _rule(suite: _Suite, rule: RuleVerdict, verdict: RunVerdict, explained: Explained) -> None:
    case = suite.case(rule.rule)
    findings = [finding for finding in verdict.findings if finding.rule == rule.rule]
    body = _explained(rule, findings, explained)
    if rule.verdict is Verdict.VIOLATED and rule.level not in MINOR:
        reason = "" if any(one.verdict is Verdict.VIOLATED for one in findings) else _cause(rule, verdict)
        if rule.level not in BLAMED and verdict.failure_class in BLAMED.values():
            reason = f"a violation of the {verdict.failure_class} counts before this: {rule.reason}"
        if reason:
            suite.say(case, "skipped", "", reason, [reason])
            return
        blamed = BLAMED.get(rule.level)
        kind = blamed or verdict.failure_class or "unknown"
        suite.say(case, "failure" if blamed else "error", kind, rule.reason, body or [rule.reason])
    elif rule.verdict is Verdict.UNKNOWN:
        suite.say(case, "skipped", "", f"unknown: {rule.reason}", [f"unknown: {rule.reason}"])
    elif rule.verdict is Verdict.NOT_APPLICABLE:
        suite.say(case, "skipped", "", rule.reason, [rule.reason])
    elif rule.verdict is Verdict.VIOLATED or rule.reason:
        ET.SubElement(case, "system-out").text = _block(body or [rule.reason])


def _cause(rule: RuleVerdict, verdict: RunVerdict) -> str:
    """Return which rule's finding has this rule's violation among its consequences, as a reason; "" if none has."""
    causes = (
        f"the same cause as {finding.rule}: {rule.reason}"
        for finding in verdict.findings
        if finding.level not in MINOR
        and any(line.startswith(f"{rule.rule}: ") for line in finding.consequences)
    )
    return next(causes, "")


def _explainer(path: Path, reproduce: str) -> Explained:
    """Return what makes a finding's lines; a history that is not there any more gives no step to go as far as."""
    try:
        return explainer(History(path))
    except BadHistory:
        return lambda finding: explain(finding, find(finding.rule), reproduce=reproduce)


def _explained(rule: RuleVerdict, findings: list[Finding], explained: Explained) -> list[str]:
    lines: list[str] = []
    for finding in findings[:MOST_FINDINGS]:
        lines += [*explained(finding), ""]
    more = max(len(findings), rule.times) - MOST_FINDINGS
    if more > 0:
        lines.append(f"… and {more} more")
    return lines[:-1] if lines and not lines[-1] else lines


def write(path: Path, document: bytes) -> None:
    """Write the document to ``path``, readable by its owner only: whole or not at all, if that is a file. Raises OSError."""
    write_private(path, document)
