# SPDX-License-Identifier: MIT
"""Verdicts as JUnit XML, in the form that Jenkins, GitLab and GitHub's report actions read.

A run is a test suite. Its first test case, ``verdict``, is the run's own verdict; every rule is one more::

    the run, or a rule that makes it so, is violated  failure, with the records that show it
    the run, or a rule that makes it so, is unknown   error, with the reason
    the run cannot be read                            error of its only test case
    any other rule is unknown                         skipped, with the reason
    a rule had nothing to judge                       skipped, with the reason
    anything else                                     passed; a warning or an observation is its output

So a suite is red exactly if the run does not hold. A case is known by its class, ``GUEST.PLAN``, and its name, the
rule's id, which are the same in every nightly run: a tool can show a rule's own past. The second run of one plan in a set is
``GUEST.PLAN#2``. Histories are hostile: what XML cannot carry, or a reader would not see, is written as an escape.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from harness import __version__
from harness.contract.explanation import explain, reproduction
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Finding, Judged, RuleVerdict, RunVerdict, Verdict
from harness.report.escape import printable
from harness.report.verdict_text import MINOR

MOST_FINDINGS = 3
"""Findings that are explained in one test case; the rest are counted."""

LONGEST = 2000
"""Characters of one line that are written."""

COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}


class JUnit:
    """Takes the runs one by one; :meth:`document` is the XML of all of them."""

    def __init__(self) -> None:
        # As text, because elements take ten times as much memory and there may be thousands of runs.
        self._suites: list[bytes] = []
        self._totals: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()

    def add(self, run: Judged) -> None:
        """Take one run."""
        counts: Counter[str] = Counter()
        suite = ET.Element("testsuite", name=_text(run.path))
        properties = ET.SubElement(suite, "properties")
        facts = {
            "harness": __version__,
            "exit code": int(run.exit_code),
            "build": run.build,
            "plan": run.plan,
        }
        for name, value in facts.items():
            ET.SubElement(properties, "property", name=name, value=_text(value))
        if run.verdict is None:
            case = _case(suite, counts, "run", "verdict")
            _say(case, counts, "error", "unreadable", run.error, [run.error, *run.hint.splitlines()])
        else:
            label = self._class(run, run.verdict)
            _whole(_case(suite, counts, label, "verdict"), counts, run.verdict)
            directory = run.path if run.path.is_dir() else run.path.parent
            findings: dict[str, list[Finding]] = {}
            for finding in run.verdict.findings:
                findings.setdefault(finding.rule, []).append(finding)
            for rule in run.verdict.rules:
                case = _case(suite, counts, label, rule.rule)
                _one(case, counts, rule, findings.get(rule.rule, []), reproduction(directory))
        for name in ("tests", *COUNTED.values()):
            suite.set(name, str(counts[name]))
        self._totals += counts
        ET.indent(suite, level=1)
        self._suites.append(ET.tostring(suite, encoding="utf-8"))

    def skip(self, name: str, label: str, reason: str) -> None:
        """Take a run that was not made, for a reason."""
        counts: Counter[str] = Counter()
        suite = ET.Element("testsuite", name=_text(name))
        case = _case(suite, counts, _text(label), "verdict")
        counts["skipped"] += 1
        ET.SubElement(case, "skipped", message=_text(reason))
        for tag in ("tests", *COUNTED.values()):
            suite.set(tag, str(counts[tag]))
        self._totals += counts
        ET.indent(suite, level=1)
        self._suites.append(ET.tostring(suite, encoding="utf-8"))

    def document(self) -> bytes:
        """Return the whole document, UTF-8."""
        root = ET.Element("testsuites", name="harness check")
        for name in ("tests", "failures", "errors"):
            root.set(name, str(self._totals[name]))
        # Its two tags, between which the suites go; no attribute can hold the line feed and bracket that part them.
        root.text = "\n"
        begin, end = ET.tostring(root, encoding="utf-8", xml_declaration=True).split(b"\n</", 1)
        return b"\n".join([begin, *(b"  " + suite for suite in self._suites), b"</" + end, b""])

    def _class(self, run: Judged, verdict: RunVerdict) -> str:
        label = _text(f"{verdict.guest or 'guest'}.{run.plan or verdict.run or 'run'}")
        self._classes[label] += 1
        return label if self._classes[label] == 1 else f"{label}#{self._classes[label]}"


def _text(value: object) -> str:
    return printable(str(value), LONGEST)


def _case(suite: ET.Element, counts: Counter[str], label: str, name: str) -> ET.Element:
    counts["tests"] += 1
    return ET.SubElement(suite, "testcase", classname=label, name=_text(name))


def _say(case: ET.Element, counts: Counter[str], tag: str, kind: str, message: str, body: list[str]) -> None:
    counts[COUNTED[tag]] += 1
    said = ET.SubElement(case, tag, message=_text(message), type=kind)
    said.text = "\n".join(_text(line) for line in body)


def _whole(case: ET.Element, counts: Counter[str], verdict: RunVerdict) -> None:
    if verdict.verdict is Verdict.HOLDS:
        return
    tag = "failure" if verdict.verdict is Verdict.VIOLATED else "error"
    kind = (
        f"{verdict.verdict.value}: {_text(verdict.failure_class)}"
        if verdict.failure_class
        else verdict.verdict.value
    )
    first = verdict.reasons[0] if verdict.reasons else verdict.verdict.value
    _say(case, counts, tag, kind, first, verdict.reasons)


def _one(
    case: ET.Element, counts: Counter[str], rule: RuleVerdict, findings: list[Finding], reproduce: str
) -> None:
    body = _explained(rule, findings, reproduce)
    decides = rule.level not in MINOR
    known = find(rule.rule)
    if rule.verdict is Verdict.VIOLATED and decides:
        _say(case, counts, "failure", rule.level.value, rule.reason, body)
    elif rule.verdict is Verdict.UNKNOWN and (decides or (known is not None and known.awaited)):
        _say(case, counts, "error", "unknown", rule.reason, body)
    elif rule.verdict in (Verdict.UNKNOWN, Verdict.NOT_APPLICABLE):
        counts["skipped"] += 1
        ET.SubElement(case, "skipped", message=_text(f"{rule.verdict.value}: {rule.reason}"))
    elif rule.verdict is Verdict.VIOLATED or rule.reason:
        ET.SubElement(case, "system-out").text = "\n".join(_text(line) for line in body or [rule.reason])


def _explained(rule: RuleVerdict, findings: list[Finding], reproduce: str) -> list[str]:
    known = find(rule.rule)
    lines: list[str] = []
    for finding in findings[:MOST_FINDINGS]:
        lines += [*explain(finding, known, reproduce=reproduce), ""]
    more = max(len(findings), rule.times) - MOST_FINDINGS
    if more > 0:
        lines.append(f"… and {more} more")
    return lines[:-1] if lines and not lines[-1] else lines


def write(path: Path, document: bytes) -> None:
    """Write the document to ``path``: whole or not at all, if that is a file. Raises OSError if it cannot be."""
    if path.exists() and not path.is_file():
        path.write_bytes(document)
        return
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(document)
    fresh.replace(path)
