# SPDX-License-Identifier: MIT
"""The rehearsal of a matrix: each point's plan is checked as ``harness run`` checks it, before the first run starts.

A check depends on the plan, the topology, the guest and the options of a run, not on the files of a QEMU build. So
points that differ only in their build are checked once.
"""

from __future__ import annotations

import tomllib
from collections import Counter

import msgspec

from harness.config import line_of
from harness.errors import UsageError
from harness.lab.matrix import Matrix
from harness.run.request import check_plan, read_driver_map


class WrongPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point whose runs would end with exit code 64: the ``place`` of its plan in the document, and the checker's
    ``words`` and ``hint``.

    ``runs`` are its repetitions. ``rows`` are the lines of its other rows, by table.
    """

    point: str
    place: str
    runs: int
    rows: dict[str, int]
    words: str
    hint: str

    def __str__(self) -> str:
        runs = f"{self.runs} run{'s' if self.runs != 1 else ''}"
        said = ", ".join([runs, *(f"{table} in line {line}" for table, line in self.rows.items())])
        return f"{self.place}: {self.point} ({said}): {self.words}"


def rehearse_matrix(matrix: Matrix) -> list[WrongPoint]:
    """Check each point of the chosen cells, and return those that cannot be executed, in the order of the document.

    What only the host of a run can know, as a template or a QEMU build that is not there, is left to the run. Raises
    BadDocument for a driver map that cannot be read.
    """
    for driver_map in {request.options.driver_map for request in matrix.requests.values()}:
        read_driver_map(driver_map)
    runs = Counter(cell.point for cell in matrix.cells)
    lines = _Lines(*matrix.origin)
    checked: dict[tuple[int, int, int, str], UsageError | None] = {}
    found: list[WrongPoint] = []
    for point, request in matrix.requests.items():
        guest, topology, plan = (request.rows[table] for table in ("guest", "topology", "plan"))
        key = guest, topology, plan, request.options.backend
        if key not in checked:
            checked[key] = None
            try:
                check_plan(request.plan, request.options)
                if request.error is not None:
                    raise request.error
            except UsageError as error:
                checked[key] = error
        if (wrong := checked[key]) is not None:
            found.append(
                WrongPoint(
                    point=point,
                    place=f"{lines.name}:{lines.of('plan', plan)}",
                    runs=runs[point],
                    rows={
                        table: lines.of(table, request.rows[table])
                        for table in ("topology", "guest")
                        if table in lines.tables
                    },
                    words=wrong.message,
                    hint=wrong.hint,
                )
            )
    return found


class _Lines:
    """The lines of a document's rows, each looked up once."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.tables = set(tomllib.loads(text))
        self._text = text
        self._known: dict[tuple[str, int], int] = {}

    def of(self, table: str, row: int) -> int:
        """Return the line where a row begins, or that of its plan's name."""
        if (table, row) not in self._known:
            steps = [table, row, "plan"] if table == "plan" else [table, row]
            self._known[table, row] = line_of(self._text, steps)
        return self._known[table, row]
