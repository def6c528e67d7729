# SPDX-License-Identifier: MIT
"""A run of the twin done again: whole, with the same verdict, and up to a step, with the guest left alive."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from twin.running import CHECKED, Perform, qemu_processes, start_harness

from harness.contract.verdict import Verdict

pytestmark = pytest.mark.qemu


def test_run_is_done_again_and_handed_over(
    run_forked: Callable[..., tuple[int, str, str]], perform_restored: Perform, tmp_path: Path
) -> None:
    """The same fault breaks the same rule; at step 1 a person reaches the guest, and Ctrl-C ends and judges it."""
    first = perform_restored("cpu-and-dimm", inject_fault="duplicate-start", seed=3)
    assert first.verdict.verdict is Verdict.VIOLATED
    code, out, _ = run_forked(
        "repro", str(first.directory), "--runs", str(tmp_path / "again"), "--json", seconds=120
    )
    said = json.loads(out)
    assert (code, said["same"], said["differences"]) == (1, True, [])
    assert "SYNC-EXACTLY-TWO" in said["now"]["violated"]

    process = start_harness(
        "repro", str(first.directory), "--step", "1", "--vnc", "--runs", str(tmp_path / "held")
    )
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line.decode()
        if "The guest is yours" in told:
            break
    for place in ("monitor", "gdb", "vnc", "console"):
        assert re.search(rf"attach \S*/held/\S+ {place}", told), told
    asked = subprocess.run(
        [sys.executable, CHECKED, "attach", str(tmp_path / "held" / "latest"), "monitor"],
        input=b"info status\n", capture_output=True, timeout=60,
    )  # fmt: skip
    assert b"VM status: running" in asked.stdout
    process.send_signal(signal.SIGINT)
    out_bytes, _ = process.communicate(timeout=60)
    assert (process.returncode, qemu_processes(tmp_path / "held")) == (1, [])
    (held,) = [run for run in (tmp_path / "held").iterdir() if not run.is_symlink()]
    facts = json.loads((held / "run.json").read_text())
    assert (facts["repro_of"], facts["verdict"]) == (first.directory.name, "violated")
    assert b"VIOLATED" in out_bytes
