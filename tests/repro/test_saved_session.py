# SPDX-License-Identifier: MIT
"""What a session saves is whole, or is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_disk import small_disk

from harness.errors import UsageError
from harness.repro.saved_session import save_plan
from harness.run.operation import AddCpu
from harness.run.plan import Plan

PLAN = Plan(name="saved", summary="", do=[AddCpu()])


@pytest.mark.root
def test_a_full_disk_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    """An existing file is never overwritten, so a part would refuse the second attempt, when there is room again."""
    with small_disk(tmp_path / "small", "64k") as disk:
        filling = disk / "filling"
        with pytest.raises(OSError, match="No space left"):
            filling.write_bytes(bytes(1 << 20))
        with pytest.raises(UsageError, match=r"cannot write .*No space left"):
            save_plan(PLAN, disk / "saved.toml", origin="a session")
        filling.unlink()
        saved = save_plan(PLAN, disk / "saved.toml", origin="a session")
        assert 'op = "add-cpu"' in saved.read_text()
