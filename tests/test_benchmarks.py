# SPDX-License-Identifier: MIT
"""The runner of the benchmarks: what becomes of figures and of failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import found, measure, rows
from benchmarks.bench_loop import STAGES, figures, markdown, rotated


def program(directory: Path, text: str) -> Path:
    """Write a benchmark."""
    path = directory / "bench_x.py"
    path.write_text(text)
    return path


def test_nested_figures_become_rows() -> None:
    """Names are joined by dots and numbers are cut to four digits."""
    figures = {"boot": {"median_s": 1.23456, "samples": 5}, "qemu": "7.2"}
    assert [("boot.median_s", "1.235"), ("boot.samples", "5"), ("qemu", "7.2")] == list(rows(figures))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("print('{\"a\": 1}')", ({"a": 1}, "")),
        ("import sys; print('{\"a\": 9}'); sys.exit('too slow')", ({"a": 9}, "exit status 1: too slow")),
        ("raise OSError('no QEMU')", ({}, "exit status 1, no JSON: OSError: no QEMU")),
        ("print(5)", ({}, "printed JSON that is not an object")),
    ],
)
def test_a_failed_benchmark_keeps_its_figures_and_says_why(
    tmp_path: Path, text: str, expected: tuple[dict[str, int], str]
) -> None:
    """A missed limit is a failure with figures; a crash is one without."""
    assert expected == measure(program(tmp_path, text))


def test_an_unknown_benchmark_is_refused() -> None:
    """The message names those there are."""
    with pytest.raises(SystemExit, match=r"no benchmark 'qpm'; there are .*qmp"):
        found(["qpm"])


def test_each_participant_of_the_loop_is_at_each_place() -> None:
    """So that no one of them always pays what the first one pays."""
    names = ["a", "b", "c"]
    assert [set(names)] * 3 == [
        set(place) for place in zip(*(rotated(names, n) for n in range(3)), strict=True)
    ]


def test_table_of_the_loop_is_made_of_its_json() -> None:
    """Booted and restored ones apart, each figure with its range, and a dash for a stage that nobody measured."""
    stage = next(iter(STAGES))
    none: dict[str, list[float]] = {one: [] for one in STAGES}
    columns = figures({"bare, booted": {**none, stage: [3.0, 1.0, 2.4]}, "bare, restored": none})
    about = {
        "date": "2026-11-30",
        "revision": "abc",
        "cores": 2,
        "load": 0.1,
        "python": "3.11.2",
        "rounds": 3,
    }
    lines = markdown({**about, "participants": columns}).splitlines()
    assert f"| {stage} | 2 (1 to 3) |" in lines
    assert f"| {stage} | - |" in lines
    assert ["| stage | bare, booted |", "| stage | bare, restored |"] == [
        line for line in lines if line.startswith("| stage")
    ]
