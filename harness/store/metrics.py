# SPDX-License-Identifier: MIT
"""A nightly run as metrics in Prometheus' text format 0.0.4, for the textfile collector of node_exporter.

They contain only numbers and words of this program and the lab's own file, never text from a guest. The file has the
mode 0644, because node_exporter runs as another user. It is replaced as a whole.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from harness.errors import system_errors
from harness.lab.matrix import Matrix
from harness.lab.nightly_state import NightlyState
from harness.lab.summary import WORDS, exit_code, unsteady, word
from harness.store.morning import SORTS
from harness.store.questions.nightly_comparison import NightlyComparison

PREFIX = "hotplug_harness_nightly"


class Metric(msgspec.Struct, frozen=True):
    """A gauge: its name, its meaning, and its values by one more label, ("", "") for none."""

    name: str
    meaning: str
    values: dict[tuple[str, str], float]


def metrics(
    state: NightlyState, matrix: Matrix, found: NightlyComparison | None, *, now: float
) -> list[Metric]:
    """Return the metrics of a finished nightly run. Those of incidents are included only if the store has it. ``now``
    is in seconds."""
    outcomes = [state.outcomes[cell.id] for cell in matrix.cells if cell.id in state.outcomes]
    words = [word(outcome) for outcome in outcomes]
    none = ("", "")
    left = len(matrix.cells) - len(outcomes)
    every = [
        Metric("runs", "Runs by their result.", {("result", name): words.count(name) for name in WORDS}),
        Metric("runs_planned", "Runs of the matrix.", {none: len(matrix.cells)}),
        Metric("runs_left", "Runs that have not ended.", {none: left}),
        Metric(
            "runs_seconds",
            "Seconds that all runs took together.",
            {none: sum(each.seconds for each in outcomes)},
        ),
        Metric(
            "unsteady_points",
            "Points whose repetitions had different results.",
            {none: len(unsteady(state, matrix))},
        ),
        Metric(
            "exit_code", "The exit code, that of the worst run.", {none: int(exit_code(state, left=left))}
        ),
        Metric("end_timestamp_seconds", "When it ended, in seconds since the epoch.", {none: round(now, 3)}),
    ]
    if found is not None:
        incidents = {("sort", sort): float(len(getattr(found, sort))) for sort in SORTS}
        every.append(Metric("incidents", "Incidents compared with the previous nightly run.", incidents))
    return every


def text(found: list[Metric], lab: str) -> str:
    """Return metrics in the text format. ``lab`` is a label of each. Its type permits letters, digits, '-' and '_'."""
    lines = []
    for metric in found:
        name = f"{PREFIX}_{metric.name}"
        lines += [f"# HELP {name} {metric.meaning}", f"# TYPE {name} gauge"]
        for (label, value), number in metric.values.items():
            more = f',{label}="{value}"' if label else ""
            lines.append(f'{name}{{lab="{lab}"{more}}} {number:.15g}')
    return "".join(f"{line}\n" for line in lines)


def write_metrics(file: Path, words: str) -> None:
    """Write the file atomically, readable by everybody. Raises InfrastructureError."""
    # The collector reads only files whose names end in .prom, so not this one.
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}.new")
    with system_errors(
        f"cannot write the metrics to {file}",
        hint="Give a file in node_exporter's --collector.textfile.directory, and make that directory writable.",
    ):
        descriptor = os.open(
            fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
        )
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as opened:
                os.fchmod(opened.fileno(), 0o644)
                opened.write(words)
            fresh.replace(file)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
