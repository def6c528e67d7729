# SPDX-License-Identifier: MIT
"""What only the driver itself can do wrong is seen to be caught, on a copy of its source with one mistake."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from guest_drivers.host_process import DRIVER, request, run
from guest_drivers.schedules import violations
from guest_drivers.source_faults import DETACH, SOURCE_FAULTS

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(
        shutil.which("gcc") is None or shutil.which("make") is None, reason="needs gcc and make"
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the driver's source and of what executes it in a process."""
    place = tmp_path_factory.mktemp("source-faults")
    for folder in ("src", "kmdf", "nt", "host"):
        shutil.copytree(DRIVER / folder, place / folder)
    return place


@pytest.mark.parametrize("rule", SOURCE_FAULTS)
def test_source_fault_is_caught(copy: Path, rule: str) -> None:
    """With the mistake in the source the rule is violated, and without it nothing is."""
    fault = SOURCE_FAULTS[rule]
    file = copy / "src" / fault.file
    text = file.read_text()
    assert 1 == text.count(fault.before)
    script = [request("DETACH") if command == DETACH else command for command in fault.script]
    judged = []
    for source in (text.replace(fault.before, fault.after), text):
        file.write_text(source)
        program = copy / "out" / "hpnotify-host"
        subprocess.run(
            ["make", "-s", "-j2", "-C", str(copy / "host"), f"OUT={copy / 'out'}", "SANITIZE=", str(program)],
            check=True,
        )
        judged.append({found.partition(":")[0] for found in violations(run(program, *script))})
    assert (True, set()) == (rule in judged[0], judged[1])
