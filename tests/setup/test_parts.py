# SPDX-License-Identifier: MIT
"""What a part lacks is named at once, in one command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.errors import MissingPart
from harness.setup.parts import HOST, TWIN, Need, all_missing, supply

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


GCC = MissingPart("gcc --version needs 'gcc', which is not installed", hint="one")


def test_one_missing_program_becomes_all(debian: Path) -> None:
    """QEMU, the compiler and make are missing together: one message, one command."""
    said = all_missing(TWIN, GCC)
    assert "the guest 'twin' needs what is not installed: qemu-system-x86_64, gcc, make" == said.message
    assert "harness setup twin" in said.hint
    assert re.search(f"{COMMAND} qemu-system-x86 .*gcc make", said.hint)


def test_a_qemu_that_is_named_is_not_asked_for(debian: Path) -> None:
    """With --qemu PATH the package of QEMU is not missed."""
    said = all_missing(TWIN, GCC, without="qemu-system-x86")
    assert "the guest 'twin' needs what is not installed: gcc, make" == said.message


@pytest.mark.parametrize(
    "error",
    [
        MissingPart("/usr/bin/qemu-system-x86_64 is QEMU 6.2.0, too old", hint="newer"),
        MissingPart("the run needs 'setpriv', which is not installed", hint="util-linux"),
    ],
)
def test_another_error_stays_as_it_is(debian: Path, error: MissingPart) -> None:
    """What is not about a missing program of the guest is not made into something else."""
    assert error is all_missing(TWIN, error)


def test_only_programs_decide(debian: Path) -> None:
    """A library that lies where no evidence looks for it is no reason, but it is named with the programs."""
    lost = HOST._replace(needs=(*HOST.needs, Need("libnowhere", "", ("/nowhere/libnowhere.so",))))
    said = all_missing(lost, GCC)
    for name in ("gcc", "make"):
        (debian / name).write_text("#!/bin/sh\n")
        (debian / name).chmod(0o755)
    assert [True, True] == [said.hint.endswith(" libnowhere"), all_missing(lost, GCC) is GCC]
