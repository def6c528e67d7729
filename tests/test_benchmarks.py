# SPDX-License-Identifier: MIT
"""The runner of the benchmarks: what becomes of figures and of failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import found, measure, rows


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
