# SPDX-License-Identifier: MIT
"""What a part lacks is named at once, in one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import MissingPart
from harness.setup.parts import HOST, TWIN, Need, check, supply

COMMAND = "sudo apt-get install --no-install-recommends"


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which there is nothing but apt-get."""
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, name: str) -> None:
    """Put a program on the PATH."""
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_each_package_stands_once_in_the_command(debian: Path) -> None:
    """Two needs of one package are one word, and a need without a package is none."""
    needs = [Need("a", "", ("x",)), Need("", "", ("y",)), Need("a", "", ("z",)), Need("b", "", ("w",))]
    assert f"{COMMAND} a b" == supply(needs)


def test_all_that_is_missing_is_named_before_any_of_it_is_used(debian: Path) -> None:
    """QEMU, the compiler and make are missing together: one message, one command."""
    with pytest.raises(MissingPart, match="qemu-system-x86_64, gcc, make") as caught:
        check(TWIN)
    assert "harness setup twin" in caught.value.hint
    assert f"{COMMAND} qemu-system-x86 " in caught.value.hint
    assert " gcc make" in caught.value.hint


def test_a_qemu_that_is_named_is_not_asked_for(debian: Path) -> None:
    """With --qemu PATH the package of QEMU is not missed."""
    with pytest.raises(MissingPart, match=r"not installed: gcc, make\n"):
        check(TWIN, without="qemu-system-x86")


def test_only_programs_decide(debian: Path) -> None:
    """A library that lies where no evidence looks for it keeps nothing from running."""
    program(debian, "gcc")
    program(debian, "make")
    lost = HOST._replace(needs=(*HOST.needs, Need("libnowhere", "", ("/nowhere/libnowhere.so",))))
    check(lost)
    assert ["libnowhere"] == [need.package for need in lost.missing() if need.package != "libc6-dev"]
