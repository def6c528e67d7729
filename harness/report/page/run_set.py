# SPDX-License-Identifier: MIT
"""The document of many runs: points of the matrix by repetitions, which points flip, and what the rules came to over all."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import msgspec

from harness import __version__
from harness.contract.coverage import RuleCoverage
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Judged, RunVerdict, Verdict
from harness.report.escape import printable
from harness.report.run_summary import verdict_sentence
from harness.report.verdict_text import MINOR

VERSION = 1
LONG = 400

MOST_RUNS = 20_000
"""Runs that a page shows; the rest are counted."""

MOST_BROKEN = 40
MOST_NAMED = 20
"""Rules that are listed as broken, and runs that are named of each."""

WORDS = {"holds": "hold"}
_WORST = ("violated", "unknown", "unreadable", "missing")


class _Cell(msgspec.Struct):
    """What is kept of one run."""

    repetition: int
    word: str
    run: str
    link: str
    says: str
    rules: list[str]
    kept: list[str] = []


class RunSetDocument:
    """Takes the runs one by one and keeps of each no more than its cell; ``name`` is what the set is called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._points: dict[str, list[_Cell]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._guests: set[str] = set()

    def add(self, run: Judged, *, point: str, repetition: int = 0, link: str = "") -> None:
        """Take one run of a point; its repetition is the next one unless it is given."""
        verdict = run.verdict
        if verdict is None:
            says = printable(run.error, LONG)
            self._place(point, _Cell(repetition, "unreadable", printable(run.path.name), link, says, []))
            return
        broken, kept = _ends(verdict)
        if not verdict.guest.startswith("windows"):
            self._guests.add(verdict.guest)
        says = printable(verdict_sentence(verdict), LONG)
        self._place(
            point, _Cell(repetition, verdict.verdict.value, printable(verdict.run), link, says, broken, kept)
        )

    def miss(self, point: str, repetition: int, why: str) -> None:
        """Take a run that was planned and left nothing to judge."""
        self._place(point, _Cell(repetition, "missing", "", "", printable(why, LONG), []))

    def document(self, rules: list[RuleCoverage]) -> dict[str, Any]:
        """Return the document; ``rules`` is the coverage of all runs together."""
        verdict = next((word for word in _WORST if self._counts[word]), "holds")
        total = self._counts.total()
        return {
            "version": VERSION,
            "kind": "set",
            "harness": __version__,
            "name": self._name,
            "verdict": verdict if total else "unknown",
            "sentence": ", ".join(f"{count} {WORDS.get(word, word)}" for word, count in self._counts.most_common()) or "no runs",
            "worth": self._worth(),
            "points": [
                {
                    "name": point,
                    "flips": _flips(cells),
                    "cells": [
                        {
                            "repetition": cell.repetition, "word": cell.word, "run": cell.run, "link": cell.link,
                            "says": cell.says, "rules": cell.rules[:20],
                        }
                        for cell in sorted(cells, key=lambda cell: cell.repetition)
                    ],
                }
                for point, cells in sorted(self._points.items())
            ],
            "flips": [_flip(point, cells) for point, cells in sorted(self._points.items()) if _flips(cells)],
            "broken": self._broken(),
            "coverage": [_covered(rule) for rule in rules],
            "runs": total,
            "left_out": max(0, total - MOST_RUNS),
        }  # fmt: skip

    def _place(self, point: str, cell: _Cell) -> None:
        self._counts[cell.word] += 1
        if self._counts.total() > MOST_RUNS:
            return
        cells = self._points[printable(point, 200)]
        cell.repetition = cell.repetition or len(cells) + 1
        cells.append(cell)

    def _worth(self) -> str:
        names = ", ".join(printable(guest, 60) or "an unnamed guest" for guest in sorted(self._guests)[:8])
        return f"Runs of {names} say nothing about Windows itself." if names else ""

    def _broken(self) -> list[dict[str, Any]]:
        runs: dict[str, list[list[str]]] = defaultdict(list)
        for cells in self._points.values():
            for cell in cells:
                for rule in cell.rules:
                    runs[rule].append([cell.run, cell.link])
        often = sorted(runs.items(), key=lambda item: (-len(item[1]), item[0]))
        return [
            {
                "rule": rule, "says": _says(rule), "runs": found[:MOST_NAMED],
                "more": max(0, len(found) - MOST_NAMED),
            }
            for rule, found in often[:MOST_BROKEN]
        ]  # fmt: skip


def _ends(verdict: RunVerdict) -> tuple[list[str], list[str]]:
    """Return the rules that a run broke, of those that change a verdict, and those that it kept."""
    told = [rule for rule in verdict.rules if rule.level not in MINOR]
    return tuple(  # type: ignore[return-value]
        [printable(rule.rule, 60) for rule in told if rule.verdict is wanted]
        for wanted in (Verdict.VIOLATED, Verdict.HOLDS)
    )


def _flips(cells: list[_Cell]) -> bool:
    return len({cell.word for cell in cells} - {"missing"}) > 1


def _flip(point: str, cells: list[_Cell]) -> dict[str, Any]:
    broken = Counter(rule for cell in cells for rule in cell.rules)
    kept = Counter(rule for cell in cells for rule in cell.kept)
    return {
        "point": point,
        "counts": [[word, count] for word, count in Counter(cell.word for cell in cells).most_common()],
        "rules": [
            {"rule": rule, "violated": count, "kept": kept[rule]}
            for rule, count in broken.most_common(20)
            if kept[rule]
        ],
    }


def _covered(rule: RuleCoverage) -> dict[str, Any]:
    return {
        "rule": printable(rule.rule, 60), "level": rule.level.value, "says": _says(rule.rule), "armed": rule.armed,
        "exercised": rule.exercised, "violated": rule.violated, "unknown": rule.unknown,
    }  # fmt: skip


def _says(rule: str) -> str:
    known = find(rule)
    return "" if known is None else known.says
