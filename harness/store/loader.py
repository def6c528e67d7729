# SPDX-License-Identifier: MIT
"""Loads runs into the store. A run that is loaded twice counts once. A run whose directory has changed is replaced.

Runs are read outside any transaction and written in portions, one transaction each, so that other processes wait only
briefly.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contract.verdict import RuleVerdict, Verdict
from harness.errors import ExitCode, UsageError
from harness.store.recorded_run import RecordedRun, read_run
from harness.store.signature import failures
from harness.store.source import RunSource

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from harness.store.database import Database

PORTION = 100
"""The number of runs written in one transaction."""

MOST_RULES, MOST_OBSERVED, MOST_FILES = 1000, 300, 200
"""The most rows of one run that are stored. A run of the harness has fewer; a forged one can have any number."""


class Unreadable(msgspec.Struct, frozen=True):
    """A run that was not loaded, and why."""

    path: str
    why: str


class LoadReport(msgspec.Struct, kw_only=True):
    """The result of a load: the numbers of new, changed and known runs, and the runs that cannot be read."""

    added: int = 0
    changed: int = 0
    same: int = 0
    unreadable: list[Unreadable] = []


Looked = Callable[[int], None]


def load(store: Database, runs: Iterable[RunSource], *, told: Looked = lambda _: None) -> LoadReport:
    """Load runs. ``told`` is called with the number of processed runs after each portion. Raises InfrastructureError.

    Runs written before an error remain. Loading again continues from there.
    """
    report = LoadReport()
    looked = 0
    for portion in portions(runs):
        with store.reading() as connection:
            known = _digests(connection, [source.name for source in portion])
        if found := read_portion(portion, known, report):
            with store.writing() as connection:
                write_portion(connection, found, report)
        looked += len(portion)
        told(looked)
    return report


def portions(runs: Iterable[RunSource]) -> Iterable[tuple[RunSource, ...]]:
    """Yield the runs in the portions that are written in one go."""
    waiting = iter(runs)
    while portion := tuple(itertools.islice(waiting, PORTION)):
        yield portion


def read_portion(
    portion: Iterable[RunSource], known: Mapping[str, str], report: LoadReport
) -> list[tuple[RunSource, RecordedRun | str]]:
    """Return what :func:`read_source` reads, for the runs that are not ``known`` by name and digest. Report the others."""
    found = []
    for source in portion:
        try:
            read = read_source(source, known.get(source.name, ""))
        except UsageError as error:
            report.unreadable.append(Unreadable(str(source.path), error.message))
            continue
        if read is None:
            report.same += 1
        else:
            found.append((source, read))
    return found


def read_source(source: RunSource, known: str) -> RecordedRun | str | None:
    """Return the run, or the digest of a cell without a run directory. Return None if its digest is ``known``.

    Raises UsageError for a run that cannot be read.
    """
    if source.path is not None:
        return read_run(source.path, known=known, told=source.told)
    digest = hashlib.sha256(source.told).hexdigest()
    # A run whose directory has been removed keeps its rows.
    return None if known else digest


def _digests(connection: Connection, names: list[str]) -> dict[str, str]:
    from sqlalchemy import select

    from harness.store.models import StoredRun, text

    asked = select(StoredRun.name, StoredRun.digest).where(StoredRun.name.in_([text(name) for name in names]))
    return {row.name: row.digest for row in connection.execute(asked)}


def write_portion(
    connection: Connection, found: list[tuple[RunSource, RecordedRun | str]], report: LoadReport
) -> None:
    """Write runs in the transaction of ``connection``, in place of their rows in the store."""
    from sqlalchemy import delete, insert, select, update

    from harness.store.models import (
        StoredArtifact,
        StoredFailure,
        StoredObservation,
        StoredRun,
        StoredTiming,
        StoredVerdict,
    )

    ids = _Ids(connection)
    rows: dict[str, dict[str, Any]] = {}
    parts: dict[str, _Parts] = {}
    for source, read in found:
        row, part = _row(ids, source, read)
        # A copy of a run is the same run.
        report.same += row["name"] in rows
        rows[row["name"]], parts[row["name"]] = row, part
    old = {
        one.name: one.digest
        for one in connection.execute(
            select(StoredRun.name, StoredRun.digest).where(StoredRun.name.in_(list(rows)))
        )
    }
    for name, digest in old.items():
        # Another process may have loaded it since, or its directory has another name.
        if rows[name]["digest"] == digest:
            del rows[name]
            report.same += 1
    connection.execute(delete(StoredRun).where(StoredRun.name.in_([name for name in old if name in rows])))
    # A late result replaces the row of its cell, which had no run directory.
    had_none = [source.cell_name for source, _ in found if source.counted and source.path is not None]
    connection.execute(
        delete(StoredRun).where(StoredRun.name.in_([ids.text(name) for name in had_none if name]))
    )
    if not rows:
        return
    retried = {row["retry_of"] for row in rows.values()} - {""}
    again = (
        set(connection.scalars(select(StoredRun.retry_of).where(StoredRun.retry_of.in_(list(rows)))))
        | retried
    )
    for name in again & set(rows):
        rows[name]["counted"] = False
    if retried:
        connection.execute(update(StoredRun).where(StoredRun.name.in_(retried)).values(counted=False))
    made = connection.execute(
        insert(StoredRun).returning(StoredRun.id, StoredRun.name), list(rows.values())
    ).all()
    tables: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (StoredVerdict, StoredFailure, StoredObservation, StoredTiming, StoredArtifact)
    }
    for run_id, name in made:
        row, part = rows[name], parts[name]
        common = {"run_id": run_id, "at": row["at"]}
        for said in part.rules:
            tables[StoredVerdict].append(
                {
                    **common, "rule_id": ids.rule(said.rule, said.level), "build_id": row["build_id"],
                    "verdict": str(said.verdict), "exercised": _small(said.exercised), "times": _small(said.times),
                }
            )  # fmt: skip
        for failure in part.failures:
            tables[StoredFailure].append(
                {
                    **common, "incident_id": ids.incident(failure), "nightly_id": row["nightly_id"],
                    "reason": ids.text(failure.reason),
                }
            )  # fmt: skip
        tables[StoredTiming] += [
            {**common, "what": one.what, "number": one.number, "host_id": row["host_id"], "ms": one.ms}
            for one in part.timings
        ]
        tables[StoredObservation] += [{"run_id": run_id, **one} for one in part.observations]
        tables[StoredArtifact] += [{"run_id": run_id, **one} for one in part.artifacts]
    for table, lines in tables.items():
        if lines:
            connection.execute(insert(table), lines)
    changed = sum(name in old for name in rows)
    report.changed += changed
    report.added += len(rows) - changed


class _Parts(msgspec.Struct):
    """The rows of a run in the other tables."""

    rules: list[RuleVerdict] = []
    failures: list[Any] = []
    timings: list[Any] = []
    observations: list[dict[str, Any]] = []
    artifacts: list[dict[str, Any]] = []


def _row(ids: _Ids, source: RunSource, read: RecordedRun | str) -> tuple[dict[str, Any], _Parts]:
    """Return a run's row in the table of runs, and its parts in the other tables."""
    recorded = read if isinstance(read, RecordedRun) else None
    verdict = recorded.verdict if recorded is not None else None
    facts = recorded.facts if recorded is not None else None
    night, told = source.night, source.outcome if source.counted else None
    sayings = [one for one in (told, verdict, facts) if one is not None]
    said = next((str(one.verdict) for one in sayings if one.verdict), "")
    blamed = next((one.failure_class for one in sayings if one.failure_class), "")
    reason = (told.reason if told else "") or (facts.error if facts else "")
    if not reason and verdict is not None and verdict.reasons:
        reason = verdict.reasons[0]
    word = (source.word if told else "") or _word(said, blamed, verdict.exit_code if verdict else None)
    guest = facts.guest if facts else source.point.partition(".")[0]
    point = source.point or f"{guest}.-.-.{recorded.plan if recorded else ''}"
    rules = verdict.rules[:MOST_RULES] if verdict else []
    counts = Counter(rule.verdict for rule in rules)
    host = source.host if night is not None else (facts.host.get("name", "") if facts else "")
    row = {
        "name": ids.text(recorded.name if recorded else source.name),
        "digest": recorded.digest if recorded else read,
        "directory": ids.text(source.path.absolute()) if source.path else "",
        "nightly_id": ids.nightly(source) if night is not None else None,
        "point_id": ids.point(point),
        "build_id": ids.build(
            guest,
            recorded.guest_build if recorded else "",
            recorded.qemu_build if recorded else "",
            recorded.driver_digest if recorded else "",
        ),
        "host_id": ids.host(host),
        "repetition": source.repetition,
        "counted": source.counted,
        "at": recorded.at if recorded and recorded.at else (night.at if night else 0),
        "seconds": told.seconds if told else (recorded.seconds if recorded else 0.0),
        "word": word,
        "verdict": ids.text(said, 16),
        "failure_class": ids.text(blamed, 40),
        "reason": ids.text(reason),
        "seed": _small(facts.seed if facts else 0),
        "harness": ids.text(facts.harness if facts else "", 60),
        "fault": ids.text(facts.fault if facts else "", 60),
        "retry_of": ids.text(facts.retry_of if facts else ""),
        "holds": counts[Verdict.HOLDS],
        "violated": counts[Verdict.VIOLATED],
        "unknown": counts[Verdict.UNKNOWN],
        "not_applicable": counts[Verdict.NOT_APPLICABLE],
    }
    parts = _Parts(
        rules=list({rule.rule: rule for rule in rules if _speaks(rule)}.values()),
        failures=list(
            {one.signature: one for one in failures(verdict, blamed, reason)}.values()
            if word not in ("holds", "skipped") and source.counted
            else []
        ),
    )
    if recorded is not None:
        parts.timings = recorded.timings
        parts.observations = _observed(ids, verdict.observations if verdict else {})
        parts.artifacts = [
            {"name": name, "sha256": ids.text(digest, 64)}
            for name, digest in {
                ids.text(name): digest for name, digest in list(recorded.facts.content.items())[:MOST_FILES]
            }.items()
        ]
    return row, parts


def _speaks(rule: RuleVerdict) -> bool:
    """Return whether a rule has a result: it judged something, or it is violated or unknown."""
    return rule.exercised > 0 or rule.verdict in (Verdict.VIOLATED, Verdict.UNKNOWN)


def _word(verdict: str, blamed: str, code: ExitCode | None) -> str:
    """Return the result of a run outside of a nightly run, in the words of :data:`harness.lab.summary.WORDS`."""
    if verdict in ("holds", "violated"):
        return verdict
    if blamed in ("infrastructure", "plan"):
        return blamed
    return {ExitCode.USAGE: "plan", ExitCode.INFRASTRUCTURE: "infrastructure"}.get(
        code or ExitCode.UNKNOWN, "unknown"
    )


def _observed(ids: _Ids, observations: dict[str, Any]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], int] = {}
    for name, values in observations.items():
        for value, times in values.items() if isinstance(values, dict) else []:
            if len(rows) < MOST_OBSERVED and isinstance(times, int):
                rows[ids.text(name, 100), ids.text(value, 200)] = _small(times)
    return [{"name": name, "value": value, "times": times} for (name, value), times in rows.items()]


def _small(number: int) -> int:
    """Return a number within the range of a 32-bit integer, which both databases accept."""
    return max(0, min(number, (1 << 31) - 1))


class _Ids:
    """The numbers of hosts, builds, points, rules, nightly runs and incidents. A number is assigned when it is first
    needed."""

    def __init__(self, connection: Connection) -> None:
        from harness.store import models

        self.text = models.text
        self._models = models
        self._connection = connection
        self._found: dict[tuple[Any, ...], int] = {}

    def host(self, name: str) -> int:
        return self._id(self._models.StoredHost, name=self.text(name, 200))

    def build(self, guest: str, guest_build: str, qemu_build: str, driver_digest: str) -> int:
        return self._id(
            self._models.StoredBuild,
            guest=self.text(guest, 100),
            guest_build=self.text(guest_build, 200),
            qemu_build=self.text(qemu_build, 200),
            driver_digest=self.text(driver_digest, 64),
        )

    def point(self, name: str) -> int:
        guest, qemu, topology, plan = (*name.split(".", 3), "", "", "")[:4]
        parts = {"guest": guest, "qemu": qemu, "topology": topology, "plan": plan}
        return self._id(
            self._models.StoredPoint,
            {key: self.text(value, 200) for key, value in parts.items()},
            name=self.text(name),
        )

    def rule(self, name: str, level: str) -> int:
        return self._id(self._models.StoredRule, {"level": str(level)}, name=self.text(name, 100))

    def nightly(self, source: RunSource) -> int:
        assert source.night is not None
        header = source.night.header
        more = {
            "seed": _small(header.seed), "cells": _small(header.cells), "host_id": self.host(header.host),
            "directory": self.text(source.night.directory.absolute()),
        }  # fmt: skip
        return self._id(
            self._models.StoredNightly,
            more,
            lab=self.text(header.lab, 100),
            name=self.text(header.name, 200),
            at=source.night.at,
        )

    def incident(self, failure: Any) -> int:
        more = {
            "rule": self.text(failure.rule, 100),
            "failure_class": self.text(failure.failure_class, 40),
            "witness": self.text(failure.witness),
        }
        return self._id(self._models.StoredIncident, more, signature=failure.signature)

    def _id(self, model: Any, more: dict[str, Any] | None = None, **key: Any) -> int:
        from sqlalchemy import insert, select

        place = (model, *key.values())
        if place not in self._found:
            same = [getattr(model, name) == value for name, value in key.items()]
            number = self._connection.scalar(select(model.id).where(*same))
            if number is None:
                made = insert(model).values(**key, **(more or {})).returning(model.id)
                number = self._connection.execute(made).scalar_one()
            self._found[place] = number
        return self._found[place]
