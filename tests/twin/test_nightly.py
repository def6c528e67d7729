# SPDX-License-Identifier: MIT
"""A nightly run on the twin: what the page of the lab says, with a plan that holds and one that does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from report.junit_schema import checked
from twin.running import qemu_processes, run_here

pytestmark = pytest.mark.qemu


def test_a_nightly_run_of_two_plans(run_forked: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """One holds, one breaks its own expectation: the worst counts, the summary says how to reproduce it, JUnit has both."""
    (tmp_path / "wrong.toml").write_text(
        'name = "wrong"\n[[do]]\nop = "add-cpu"\n\n[[do]]\nop = "expect"\ndimms = 3\n'
    )
    (tmp_path / "lab.toml").write_text(
        'accel = "tcg"\nrestore = true\nparallel = 2\n[[plan]]\nplan = "./wrong.toml"\n[[plan]]\nplan = "veto"\n'
    )
    into = tmp_path / "kept"
    code, out, _ = run_forked(
        "nightly", "--once", "--lab", str(tmp_path / "lab.toml"), "--into", str(into), "--name", "n", "--json",
        seconds=240,
    )  # fmt: skip
    said = json.loads(out)
    assert (1, 0) == (code, said["left"])
    assert {"wrong": "violated", "veto": "holds"} == {
        run["cell"].split(".")[3]: run["word"] for run in said["runs"]
    }
    (wrong,) = [run for run in said["runs"] if run["word"] == "violated"]
    kept = into / "n"
    summary = (kept / "summary.txt").read_text()
    assert f"Reproduce: harness repro {wrong['runs'][0]}" in summary
    assert json.loads((kept / "summary.json").read_text()) == said
    report = checked((kept / "junit.xml").read_bytes())
    assert {"twin.default.default.wrong", "twin.default.default.veto"} == {
        suite.get("name") for suite in report
    }
    assert qemu_processes(tmp_path) == []
    assert run_here("check", str(kept / "runs"))[0] == 1
