# SPDX-License-Identifier: MIT
"""The driver package's catalog, made on Linux: osslsigncode finds the driver in it, and a reader of its own the INF file."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.deadline import Deadline
from harness.driver import certificate, manifest
from harness.driver.build import TOOLCHAINS
from harness.driver.catalog import catalog, image_digest, make_catalog, sign_package
from harness.driver.certificate import Certificate
from harness.driver.package_inf import read_inf
from harness.errors import ExitCode, UsageError
from harness.guest.windows.driver_files import find_driver

NAME_VALUE, INDIRECT_DATA = "1.3.6.1.4.1.311.12.2.1", "1.3.6.1.4.1.311.2.1.4"


def soon() -> Deadline:
    return Deadline(120, "the test")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate.ensure(tmp_path_factory.mktemp("catalog-keys"))


@pytest.fixture
def package(built: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of what was built, not signed; the path of its driver."""
    shutil.copytree(built["gcc"].parent, tmp_path / "package")
    return tmp_path / "package" / "hpnotify.sys"


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of the DER elements that lie next to each other."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        yield tag, data[at : at + size]
        at += size
    assert at == len(data)


def contents(data: bytes) -> list[bytes]:
    return [content for _, content in elements(data)]


def dotted(data: bytes) -> str:
    """An object identifier's numbers."""
    numbers, value = [data[0] // 40, data[0] % 40], 0
    for byte in data[1:]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    return ".".join(map(str, numbers))


def named(data: bytes) -> tuple[str, str]:
    """Name and value of an attribute."""
    name, _, value = contents(contents(data)[0])
    return name.decode("utf-16-be"), value.decode("utf-16-le").rstrip("\0")


def trust_list(path: Path) -> list[bytes]:
    """The parts of the trust list in a catalog."""
    (message,) = contents(path.read_bytes())
    (signed,) = contents(contents(message)[1])
    return contents(contents(contents(contents(signed)[2])[1])[0])


def members(path: Path) -> dict[bytes, dict[str, str]]:
    """The members of a catalog by hash, each with its named attributes, and the hash that a signature would have."""
    found = {}
    for entry in contents(trust_list(path)[4]):
        digest, attributes = contents(entry)
        values: dict[str, str] = {}
        for attribute in contents(attributes):
            kind, content = contents(attribute)
            if dotted(kind) == NAME_VALUE:
                values |= [named(content)]
            elif dotted(kind) == INDIRECT_DATA:
                (indirect,) = contents(content)
                values["digest"] = contents(contents(indirect)[1])[1].hex()
        found[digest] = values
    return found


def verify(folder: Path, keys: Certificate, *words: str) -> str:
    """What osslsigncode says of a file and a catalog in a folder."""
    done = subprocess.run(
        ["osslsigncode", "verify", "-CAfile", keys.pem, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


@pytest.mark.wine
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_the_driver_is_a_member(
    built: dict[str, Path], tmp_path: Path, keys: Certificate, toolchain: str
) -> None:
    """osslsigncode verifies the catalog, and finds the driver in it, with a signature of its own and without one."""
    shutil.copytree(built[toolchain].parent, tmp_path / "package")
    driver = tmp_path / "package" / "hpnotify.sys"
    assert [driver, driver.with_suffix(".cat")] == sign_package(driver, keys, soon())
    shutil.copy(built[toolchain], driver.with_name("bare.sys"))
    said = verify(driver.parent, keys, "-in", "hpnotify.cat")
    assert "Signature verification: ok" in said
    assert said.endswith("exit 0")
    for name in ("hpnotify.sys", "bare.sys"):
        said = verify(driver.parent, keys, "-catalog", "hpnotify.cat", "-in", name)
        assert "File is signed in catalog: hpnotify.cat" in said
        assert said.endswith("exit 0")
    record = manifest.load(driver)
    assert record is not None
    # Symbols are clang's alone.
    suffixes = (".cat", ".inf", *((".pdb",) if toolchain == "clang" else ()))
    files = [driver, *(driver.with_suffix(each) for each in suffixes), driver.with_name("hpnctl.exe")]
    assert {path.name: manifest.digest(path) for path in files} == record.sha256


@pytest.mark.wine
def test_another_driver_is_no_member(package: Path, keys: Certificate) -> None:
    """A driver in which one byte differs is not in the catalog."""
    make_catalog(package.with_suffix(".inf"), keys, soon())
    data = bytearray(package.read_bytes())
    data[len(data) // 2] ^= 1
    package.write_bytes(data)
    said = verify(package.parent, keys, "-catalog", "hpnotify.cat", "-in", "hpnotify.sys")
    assert "File is signed in catalog" not in said
    assert not said.endswith("exit 0")


@pytest.mark.wine
def test_what_is_in_it(package: Path, keys: Certificate) -> None:
    """Driver and INF file are there by both hashes, with their names and systems; systems and devices are named once."""
    path = make_catalog(package.with_suffix(".inf"), keys, soon())
    inf = package.with_suffix(".inf").read_bytes()
    expected = {}
    for name, digests in {
        "hpnotify.sys": [image_digest(package, kind) for kind in ("sha1", "sha256")],
        "hpnotify.inf": [hashlib.sha1(inf).digest(), hashlib.sha256(inf).digest()],
    }.items():
        common = {"File": name, "OSAttr": "2:10.0"}
        expected |= {digests[0]: common, digests[1]: {**common, "digest": digests[1].hex()}}
    assert expected == members(path)
    assert sorted(expected) == list(members(path))
    extensions = [named(contents(each)[1]) for each in contents(contents(trust_list(path)[5])[0])]
    assert [
        ("OS", "_v100_X64,Server_v100_X64"),
        ("HWID1", "root\\hpnotify"),
        ("HWID2", "pci\\ven_1234&dev_11e8"),
        ("HWID3", "pci\\ven_1b36&dev_0005"),
    ] == extensions


@pytest.mark.wine
def test_the_hash_is_authenticodes(package: Path, keys: Certificate) -> None:
    """The hash of an image is the one that osslsigncode computes, and a signature does not change it."""
    before = [image_digest(package, kind) for kind in ("sha1", "sha256")]
    sign_package(package, keys, soon())
    assert before == [image_digest(package, kind) for kind in ("sha1", "sha256")]
    found = re.search(
        r"Calculated message digest *: ([0-9A-F]{64})", verify(package.parent, keys, "-in", package.name)
    )
    assert found is not None
    assert before[1].hex().upper() == found[1]


@pytest.mark.wine
def test_same_bytes_from_the_same_files(package: Path, tmp_path: Path) -> None:
    """Where and when a catalog is made does not show in it."""
    shutil.copytree(package.parent, tmp_path / "elsewhere")
    made = {catalog(read_inf(folder / "hpnotify.inf")) for folder in (package.parent, tmp_path / "elsewhere")}
    assert 1 == len(made)


@pytest.mark.wine
def test_the_plug_and_play_installation_takes_it(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """harness driver sign makes the catalog of a build, and a Windows guest then has a package to install."""
    assert find_driver(package, Path(), soon(), print).package is None
    assert main(["driver", "sign", str(package)]) == ExitCode.HOLDS
    assert f"{package.with_suffix('.cat')}: signed with" in capsys.readouterr().out
    assert package.parent == find_driver(package, Path(), soon(), print).package


INF = """[Version]
CatalogFile = a.cat ; a comment
DriverVer = 02/03/2024,1.2.3.4
[SourceDisksFiles]
a.txt = 1
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("DriverVer", "DriverVersion", "lacks DriverVer, CatalogFile or"),
        ("CatalogFile = a.cat", "", "lacks DriverVer, CatalogFile or"),
        ("a.txt = 1", "", "lacks DriverVer, CatalogFile or"),
        ("02/03/2024", "13/03/2024", "DriverVer: month must be in 1..12"),
        ("a.txt", "b.txt", "names b.txt, which is not next to it"),
        ("a.cat", "../a.cat", "is not a file's name"),
        ("a.txt", "../a.txt", "is not a file's name"),
        ("a.txt", "A.txt", "names A.txt, which is not next to it"),
        ("a.txt", "a.sys", "is not an image that Windows could load"),
    ],
)
def test_packages_that_are_none(old: str, new: str, said: str, tmp_path: Path, keys: Certificate) -> None:
    """What a catalog cannot be made of is named, and no catalog is left."""
    (tmp_path / "a.inf").write_text(INF.replace(old, new))
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.sys").write_text("text")
    with pytest.raises(UsageError, match=re.escape(said)):
        make_catalog(tmp_path / "a.inf", keys, soon())
    assert [] == list(tmp_path.rglob("*.cat"))


def test_a_missing_inf_file(tmp_path: Path, keys: Certificate) -> None:
    """An INF file that cannot be read is named."""
    with pytest.raises(UsageError, match=r"cannot read .*nosuch\.inf: No such file"):
        make_catalog(tmp_path / "nosuch.inf", keys, soon())
