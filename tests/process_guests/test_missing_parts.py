# SPDX-License-Identifier: MIT
"""What a guest that is a process needs and does not find is named, with the command that supplies it."""

from __future__ import annotations

from pathlib import Path

import pytest
from process_guests.conftest import Perform

from harness.errors import ExitCode, MissingPart


@pytest.mark.parametrize(("guest", "named"), [("host", "gcc"), ("wine", "gcc-mingw-w64-x86-64")])
def test_a_missing_part_is_named(
    perform_on: Perform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guest: str, named: str
) -> None:
    """On a machine without compilers neither guest can run: that is infrastructure, and the packages are named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = perform_on("veto", guest)
    assert isinstance(result.error, MissingPart)
    assert named in result.error.hint
    assert ExitCode.INFRASTRUCTURE == result.error.exit_code
