# SPDX-License-Identifier: MIT
"""The answer medium holds what it should, as tools that are not ours read it, and nobody else can read it."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from harness.errors import InfrastructureError, UsageError
from harness.template.answer import ANSWER_FILE, answers_for, render
from harness.template.medium import LABEL, answer_medium, write_medium
from harness.template.provision import LARGEST_OPENSSH, OpenSshSource
from harness.template.template import find_templates
from harness.template.wim import WimImage

TEMPLATES = find_templates()
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEr harness"


def files_of(name: str, **more: object) -> dict[str, bytes]:
    """The files of a template's medium."""
    template = TEMPLATES[name]
    answer = render(template, answers_for(WimImage(index=1, language="en-US"), password="Secret123"))
    return answer_medium(template, answer, **{"authorized_key": KEY, **more})  # type: ignore[arg-type]


@pytest.mark.media
@pytest.mark.parametrize("name", TEMPLATES)
def test_read_back_by_isoinfo(tmp_path: Path, name: str) -> None:
    """Every file by its own name, byte for byte, and the label; the name of the answer file is at the root."""
    package = tmp_path / "OpenSSH.msi"
    package.write_bytes(b"msi" * 1000)
    files = files_of(name, certificate=b"\x30\x82", openssh=OpenSshSource("msi", package))
    iso = tmp_path / "answer.iso"
    write_medium(iso, files)
    assert {ANSWER_FILE, "provision/start.ps1", "provision/test.cer", "provision/openssh.msi"} <= set(files)
    listed = subprocess.run(["isoinfo", "-J", "-f", "-i", iso], capture_output=True, text=True, check=True)
    assert sorted({f"/{each}" for each in files} | {"/install", "/provision"}) == sorted(
        listed.stdout.split("\n")[:-1]
    )
    for each, content in files.items():
        read = subprocess.run(["isoinfo", "-J", "-x", f"/{each}", "-i", iso], capture_output=True, check=True)
        assert content == read.stdout
    described = subprocess.run(["isoinfo", "-d", "-i", iso], capture_output=True, text=True, check=True)
    assert f"Volume id: {LABEL}\n" in described.stdout


@pytest.mark.media
def test_read_back_by_libarchive(tmp_path: Path) -> None:
    """A second reader finds the same."""
    files = files_of("windows-server-2025")
    write_medium(tmp_path / "answer.iso", files)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["bsdtar", "-xf", tmp_path / "answer.iso", "-C", out], check=True)
    found = {str(each.relative_to(out)): each.read_bytes() for each in out.rglob("*") if each.is_file()}
    assert files == found


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    """It holds a password: mode 0600 from the first byte, and never over a file that is there."""
    iso = tmp_path / "answer.iso"
    write_medium(iso, {"a": b"1"})
    assert 0o600 == stat.S_IMODE(iso.stat().st_mode)
    with pytest.raises(InfrastructureError, match="File exists"):
        write_medium(iso, {"a": b"1"})


def test_nowhere_to_write(tmp_path: Path) -> None:
    """A directory that is not there is named."""
    with pytest.raises(InfrastructureError, match="No such file or directory"):
        write_medium(tmp_path / "none" / "answer.iso", {"a": b"1"})


def test_the_password_is_in_the_answer_file_only() -> None:
    """No script and no setting repeats it."""
    files = files_of("windows-11")
    assert [ANSWER_FILE] == [name for name, content in files.items() if b"Secret123" in content]


@pytest.mark.parametrize("name", ["/a", "../a", "a/../b", "x" * 65])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    """A path stays within the medium."""
    with pytest.raises(UsageError, match="cannot be a path"):
        write_medium(tmp_path / "answer.iso", {name: b""})


@pytest.mark.parametrize(
    "key",
    ["", "ssh-ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "ssh-ed25519 \x07AAA", f"{KEY}\n{KEY}"],
)
def test_keys_that_are_none(key: str) -> None:
    """A private key is never put on a medium."""
    with pytest.raises(UsageError, match="not one line of an OpenSSH key"):
        files_of("windows-11", authorized_key=key)


def test_openssh_that_cannot_be(tmp_path: Path) -> None:
    """A file that is not there, or as large as a whole system."""
    with pytest.raises(UsageError, match="No such file"):
        files_of("windows-11", openssh=OpenSshSource("zip", tmp_path / "OpenSSH.zip"))
    large = tmp_path / "OpenSSH.zip"
    with large.open("wb") as file:
        file.truncate(LARGEST_OPENSSH + 1)
    with pytest.raises(UsageError, match="too large"):
        files_of("windows-11", openssh=OpenSshSource("zip", large))


def test_features_on_demand_stay_a_medium_of_their_own(tmp_path: Path) -> None:
    """An ISO is not copied: the steps find it in another drive."""
    files = files_of("windows-server-2019", openssh=OpenSshSource("iso", tmp_path / "fod.iso"))
    assert b'"openssh": "iso"' in files["provision/settings.json"]
    assert [] == [name for name in files if "openssh." in name and not name.endswith(".ps1")]
