# SPDX-License-Identifier: MIT
"""A made lab: a year of nightly results, of any size, put into a result store without run directories.

Its contents depend on its parameters alone. Builds follow one another, one rule breaks with a driver, and one point is
flaky on a host that becomes slower. ``tests/store/`` queries a small one and computes the answers again from
:meth:`MadeLab.runs`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert

from harness.contract.rules.catalogue import all_rules
from harness.store.database import Database
from harness.store.models import (
    Base,
    StoredBuild,
    StoredFailure,
    StoredHost,
    StoredIncident,
    StoredNightly,
    StoredPoint,
    StoredRule,
    StoredRun,
    StoredTiming,
    StoredVerdict,
)

DAY = 86_400
SPEAKING = 75
"""The number of rules with a result in one run, as in the recorded runs of the twin."""

BROKEN, BREAKS_AT = "SYNC-EXACTLY-TWO", 0.9
"""The rule that one driver breaks, and the share of the time that has passed when it begins."""

PORTION = 200_000


class MadeRun(NamedTuple):
    """One run of the made lab, with the numbers of its rows."""

    number: int
    at: int
    night: int
    point: int
    build: int
    host: int
    repetition: int
    seconds: float
    word: str
    incident: int
    failure_class: str
    rules: list[int]
    broken: int
    unknown: bool
    timings: list[tuple[str, float]]


class MadeLab:
    """``runs`` runs over ``days`` days that end at ``now``, in seconds since the epoch."""

    def __init__(self, *, runs: int, now: int, days: int = 365, points: int = 60, hosts: int = 4) -> None:
        self.count, self.now, self.days = runs, now, days
        self.points, self.hosts, self.nights = points, hosts, days
        self.rules = [rule.id for rule in all_rules()]
        self.levels = [str(rule.level) for rule in all_rules()]
        self.broken = self.rules.index(BROKEN) + 1
        self.builds = [
            (f"guest-{point % 3}", f"build {month}", f"QEMU {month // 4 + 7}.0", f"{week:016x}")
            for point in range(3)
            for week in range(days // 7 + 1)
            for month in [week // 4]
        ]
        self.incidents = 40

    def runs(self) -> Iterator[MadeRun]:
        """Yield every run, oldest first."""
        chance = random.Random(7)
        begin = self.now - self.days * DAY
        weeks = self.days // 7 + 1
        speaking = [
            sorted(chance.sample(range(1, len(self.rules) - 4), SPEAKING)) for _ in range(self.points)
        ]
        for each in speaking:
            if self.broken not in each:
                each[0] = self.broken
                each.sort()
        for number in range(1, self.count + 1):
            share = (number - 1) / self.count
            at = begin + int(share * self.days * DAY)
            night = int(share * self.days) + 1
            point = (number * 7) % self.points
            week = min(int(share * self.days) // 7, weeks - 1)
            build = point % 3 * weeks + week + 1
            host = number % self.hosts + 1
            word, incident, failure_class, broken = "holds", 0, "", 0
            if share > BREAKS_AT and point % 10 == 3:
                word, incident, failure_class, broken = "violated", 1, "contract", self.broken
            elif point == 5 and chance.random() < 0.3:
                word, incident, failure_class, broken = "violated", 2, "driver", speaking[point][9]
            elif (drawn := chance.random()) < 0.01:
                word, incident, failure_class = (
                    "unknown",
                    3 + chance.randrange(self.incidents - 4),
                    "guest hang",
                )
            elif drawn < 0.015:
                word, incident, failure_class = "infrastructure", self.incidents, "infrastructure"
            slower = 1.5 if host == 2 and share > 0.98 else 1.0
            yield MadeRun(
                number, at, night, point + 1, build, host, 1, 20 + 10 * chance.random(), word, incident, failure_class,
                speaking[point], broken, word == "unknown",
                [
                    ("boot", 2000 * slower + chance.randrange(500)), ("driver", 150.0 + chance.randrange(50)),
                    ("restore", 200 * slower + chance.randrange(100)), ("add-cpu", 30 * slower + chance.randrange(20)),
                    ("add-dimm", 50.0 + chance.randrange(20)), ("qemu", 60.0 + chance.randrange(9)),
                ],
            )  # fmt: skip

    def fill(self, store: Database) -> int:
        """Insert it into an empty store. Return the number of rule rows."""
        with store.writing() as connection:
            self._dimensions(connection)
        rows = 0
        waiting: dict[Any, list[tuple[Any, ...]]] = {
            table: [] for table in (StoredRun, StoredVerdict, StoredFailure, StoredTiming)
        }
        for run in self.runs():
            waiting[StoredRun].append(self._run(run))
            for rule in run.rules:
                verdict = (
                    "violated" if rule == run.broken else "unknown" if run.unknown and rule < 9 else "holds"
                )
                waiting[StoredVerdict].append(
                    (run.number, rule, run.build, run.at, verdict, 1, int(rule == run.broken))
                )
            if run.incident:
                waiting[StoredFailure].append((run.number, run.incident, run.night, run.at, "made"))
            waiting[StoredTiming] += [(run.number, what, 1, run.host, run.at, ms) for what, ms in run.timings]
            if len(waiting[StoredVerdict]) >= PORTION:
                rows += self._write(store, waiting)
        rows += self._write(store, waiting)
        with store.reading() as connection:
            # As autovacuum does on a server in use.
            words = "VACUUM ANALYZE" if store.address.file is None else "ANALYZE"
            raw = connection.connection.driver_connection
            if store.address.file is None:
                raw.rollback()
                raw.autocommit = True
            raw.execute(words)
        return rows

    def _run(self, run: MadeRun) -> tuple[Any, ...]:
        name = f"run-{run.number:08d}"
        return (
            run.number, name, f"{run.number:064x}", f"/made/{name}", run.night, run.point, run.build, run.host,
            run.repetition, True, run.at, run.seconds, run.word, "unknown" if run.word == "infrastructure" else run.word,
            run.failure_class, "" if run.word == "holds" else "made", 0, "0.1.0", "", "", SPEAKING, 0, 0, 38, 0,
        )  # fmt: skip

    def _dimensions(self, connection: Connection) -> None:
        begin = self.now - self.days * DAY
        rows: dict[Any, Iterable[dict[str, Any]]] = {
            StoredHost: ({"id": at, "name": f"host-{at}"} for at in range(1, self.hosts + 1)),
            StoredBuild: (
                {"id": at, "guest": g, "guest_build": b, "qemu_build": q, "driver_digest": d}
                for at, (g, b, q, d) in enumerate(self.builds, 1)
            ),
            StoredPoint: (
                {
                    "id": at + 1, "name": f"guest-{at % 3}.qemu.small.plan-{at}", "guest": f"guest-{at % 3}",
                    "qemu": "qemu", "topology": "small", "plan": f"plan-{at}",
                }
                for at in range(self.points)
            ),
            StoredRule: ({"id": at, "name": name, "level": self.levels[at - 1]} for at, name in enumerate(self.rules, 1)),
            StoredNightly: (
                {
                    "id": at, "name": f"night-{at}", "lab": "made", "at": begin + (at - 1) * DAY, "seed": 1,
                    "cells": self.count // self.nights, "directory": f"/made/night-{at}", "host_id": 1,
                }
                for at in range(1, self.nights + 1)
            ),
            StoredIncident: (
                {
                    "id": at, "signature": f"{at:016x}", "rule": BROKEN if at == 1 else "",
                    "failure_class": "infrastructure" if at == self.incidents else "contract" if at == 1 else "driver",
                    "witness": f"made {at}",
                }
                for at in range(1, self.incidents + 1)
            ),
        }  # fmt: skip
        for table, lines in rows.items():
            connection.execute(insert(table), list(lines))

    def _write(self, store: Database, waiting: dict[Any, list[tuple[Any, ...]]]) -> int:
        rows = len(waiting[StoredVerdict])
        with store.writing() as connection:
            raw: Any = connection.connection.driver_connection
            for model, lines in waiting.items():
                table = Base.metadata.tables[model.__tablename__]
                names = ", ".join(column.name for column in table.columns)
                if store.address.file is None:
                    # The made rows are consistent: the foreign keys of ten million rows need no check.
                    raw.execute("SET LOCAL session_replication_role = replica")
                    with raw.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
                        for line in lines:
                            copy.write_row(line)
                else:
                    places = ", ".join("?" for _ in table.columns)
                    raw.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({places})", lines)
                lines.clear()
        return rows
