# SPDX-License-Identifier: MIT
"""The driver's symbols, made by clang and lld-link: llvm-pdbutil reads them, and they belong to the image and the sources."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.driver import manifest
from harness.driver.build import build
from harness.driver.source import driver_folder
from harness.driver.symbols import SymbolsIdentity, symbols_identity, windbg_options

pytestmark = pytest.mark.wine


@pytest.fixture
def pdb(built: dict[str, Path]) -> Path:
    return built["clang"].with_suffix(".pdb")


def dump(pdb: Path, *what: str) -> str:
    """What llvm-pdbutil says of a PDB."""
    done = subprocess.run(
        ["llvm-pdbutil", "dump", *what, pdb], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_they_belong_to_the_image(pdb: Path, signed: dict[str, Path]) -> None:
    """The PDB has the GUID and the age that the image and the manifest say, before and after the image is signed."""
    said = dump(pdb, "-summary")
    guid, age = re.findall(r"GUID: \{([0-9A-F-]+)\}", said), re.findall(r"Age: (\d+)", said)
    expected = SymbolsIdentity("hpnotify.pdb", guid[0], int(age[0]))
    assert [expected, expected] == [
        symbols_identity(each) for each in (pdb.with_suffix(".sys"), signed["clang"])
    ]
    record = manifest.load(pdb.with_suffix(".sys"))
    assert record is not None
    assert (expected.guid, expected.age, manifest.digest(pdb)) == (
        record.symbols, record.symbols_age, record.sha256[pdb.name],
    )  # fmt: skip


def test_they_name_the_sources(pdb: Path) -> None:
    """Every source is there once, below C:\\hpnotify, with the hash of the file that the source path leads to."""
    found = dict(re.findall(r"- \(MD5: ([0-9A-F]{32})\) C:\\hpnotify\\(\S+)", dump(pdb, "-files")))
    named = {path.replace("\\", "/"): digest for digest, path in found.items()}
    sources = sorted((driver_folder() / "src").glob("*.c"))
    assert {path.name for path in sources} == {
        Path(each).name for each in named if each.startswith("src/") and each.endswith(".c")
    }
    for path, digest in named.items():
        assert digest == hashlib.md5((driver_folder() / path).read_bytes()).hexdigest().upper()


def test_they_name_no_place(pdb: Path) -> None:
    """Neither the sources' folder nor the one of the build is in symbols or image, nor anything else of this machine's user."""
    places = [str(driver_folder()), str(pdb.parent), str(Path.cwd()), str(Path.home())]
    for path in (pdb, pdb.with_suffix(".sys")):
        data = path.read_bytes()
        assert [] == [place for place in places if place.encode() in data and len(place) > 5]


def test_functions_types_and_lines(pdb: Path) -> None:
    """A callback is a function, a call in the sources has its line, and the driver's structures are types."""
    text = (driver_folder() / "src" / "sync.c").read_text().splitlines()
    call = "KeRegisterProcessorChangeCallback(HpnProcessorChange"
    (line,) = (number for number, each in enumerate(text, 1) if call in each)
    assert re.search(r"S_[GL]PROC32 \[size = \d+\] `HpnProcessorChange`", dump(pdb, "-symbols"))
    assert re.search(r"LF_STRUCTURE \[size = \d+\] `_HPN_DRIVER`", dump(pdb, "-types"))
    lines = re.findall(
        r"C:\\hpnotify\\src\\sync\.c [^\n]*\n((?:[^\n]*\n)*?)(?=\n*\S*C:\\|\n*Mod|\Z)", dump(pdb, "-l")
    )
    numbers = {int(number) for number in re.findall(r"(\d+) [0-9A-F]{8} !", "".join(lines))}
    assert line in numbers


def test_a_build_without_symbols_leaves_none(tmp_path: Path) -> None:
    """gcc makes none: a PDB of an earlier build does not stay beside another driver, and WinDbg is told of none."""
    driver = tmp_path / "hpnotify.sys"
    driver.with_suffix(".pdb").write_bytes(b"old")
    assert windbg_options(driver) == f'-y "{tmp_path}" -srcpath "{driver_folder()}"'
    path, record = build(tmp_path, Deadline(120, "the test"), toolchain="gcc")
    assert (None, "", 0, "") == (
        symbols_identity(path),
        record.symbols,
        record.symbols_age,
        windbg_options(path),
    )
    assert not driver.with_suffix(".pdb").exists()
