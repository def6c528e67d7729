# SPDX-License-Identifier: MIT
"""Where the package's data lie, and the command that installs an extra of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from harness import package
from harness.errors import MissingPart

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["guest_drivers", "vm_templates"])
def test_a_clone_has_the_data_where_it_keeps_them(name: str) -> None:
    """The link of the package leads to the folder of the repository."""
    assert ROOT / name == package.data_folder(name)


def test_data_in_an_archive_are_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """make needs a directory, so a package in an archive is refused with the way out."""
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("harness/data/guest_drivers/x", "")
    monkeypatch.setattr(package.resources, "files", lambda _: zipfile.Path(archive, "harness/"))
    with pytest.raises(
        MissingPart, match=r"package\.zip/harness/data/guest_drivers/? is not a directory"
    ) as caught:
        package.data_folder("guest_drivers")
    assert "pip or pipx" in caught.value.hint


def test_the_packages_of_an_extra_are_those_of_the_metadata() -> None:
    """The installed package itself says what an extra brings; one that does not exist brings nothing."""
    assert [["pefile"], []] == [
        [name for name in package.extra_packages("driver") if name != "cryptography"],
        package.extra_packages("nosuch"),
    ]


def test_an_extra_is_installed_as_the_environment_was_made(tmp_path: Path) -> None:
    """pip takes the extra's name; pipx, known by its record, takes the packages."""
    by_pip = package.install_extra("windows", tmp_path)
    (tmp_path / package.PIPX_RECORD).write_text("{}")
    assert ["pip install 'hotplug-harness[windows]'", "pipx inject hotplug-harness pycdlib"] == [
        by_pip,
        package.install_extra("windows", tmp_path),
    ]
