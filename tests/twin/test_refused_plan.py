# SPDX-License-Identifier: MIT
"""What only QEMU knows of a plan: its words are kept, the plan is to blame, and nothing is tried again."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from twin.running import run_here

pytestmark = pytest.mark.qemu

TOO_FAR = 'name = "a"\n[machine]\nmax_memory = "4 TiB"\n[[do]]\nop = "quiesce"\n'
TOO_SMALL = 'name = "a"\n[[do]]\nop = "add-dimm"\nsize = "1 MiB"\nunaligned = true\n'


@pytest.mark.parametrize(
    ("plan", "words", "stage", "said"),
    [
        (TOO_FAR, [], "qemu", "phys-bits too low"),
        (TOO_SMALL, ["--restore"], "plan", "backend memory size must be multiple of 0x200000"),
    ],
)
def test_what_qemu_refuses_of_a_plan_is_the_plan_s(
    run_forked: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    plan: str,
    words: list[str],
    stage: str,
    said: str,
) -> None:
    """Exit code 64 and the class ``plan`` in every output, an error in JUnit, and one attempt in spite of --retry."""
    (tmp_path / "p.toml").write_text(plan)
    runs = tmp_path / "runs"
    options = ["--accel", "tcg", "--runs", str(runs), "--retry", "--json", *words]
    code, out, _ = run_forked("run", str(tmp_path / "p.toml"), *options, seconds=120)
    told = json.loads(out)
    assert (64, "plan", "plan", stage) == (
        code, told["failure_class"], told["error"]["class"], told["error"]["stage"],
    )  # fmt: skip
    assert said in told["error"]["message"]
    (run,) = [one for one in runs.iterdir() if not one.is_symlink()]
    assert "plan" == json.loads((run / "run.json").read_text())["failure_class"]
    code, _, _ = run_here("check", str(run), "--junit", str(tmp_path / "j.xml"))
    errors = [error.get("type") for error in ET.parse(tmp_path / "j.xml").getroot().iter("error")]
    assert (64, "plan") == (code, errors[0])
