# SPDX-License-Identifier: MIT
"""Editions are read from real media: WIMs made by wimlib, in UDF as Windows media are, and from broken ones."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.template.edition import choose, is_evaluation, read_images
from harness.template.template import find_template
from harness.template.wim import WimImage
from tests.template.media import FORMS, STANDARD_CORE, make_iso, make_wim, windows_medium

SERVER = find_template("windows-server-2022")


@pytest.mark.media
@pytest.mark.parametrize("name", ["install.wim", "install.esd"])
@pytest.mark.parametrize("form", FORMS)
def test_two_editions(tmp_path: Path, name: str, form: str) -> None:
    """Both are there with all that the medium tells, from a compressed and from a solid file, whatever form the medium has."""
    core, desktop = read_images(windows_medium(tmp_path, form=form, name=name))
    assert (1, "ServerStandardEval", "Server Core") == (core.index, core.edition, core.installation)
    assert (2, "ServerStandardEval", "Server") == (desktop.index, desktop.edition, desktop.installation)
    assert ("amd64", 20348, "en-US") == (core.architecture, core.build, core.language)
    assert desktop == choose(SERVER, [core, desktop], "standard-desktop")[1]


@pytest.mark.media
def test_split_image(tmp_path: Path) -> None:
    """The first part of a split image tells of all of it."""
    tree = tmp_path / "medium"
    (tree / "sources").mkdir(parents=True)
    make_wim(tmp_path / "install.wim", STANDARD_CORE).rename(tree / "sources" / "install.swm")
    (image,) = read_images(make_iso(tmp_path / "w.iso", tree))
    assert "Server Core" == image.installation


@pytest.mark.media
def test_no_installation_medium(tmp_path: Path) -> None:
    """An ISO of something else is told from one of Windows."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "viostor.sys").touch()
    with pytest.raises(UsageError, match=r"holds no sources/install\.wim"):
        read_images(make_iso(tmp_path / "drivers.iso", tree))


@pytest.mark.media
def test_image_file_that_is_none(tmp_path: Path) -> None:
    """A file of the right name that is no WIM is named with the reason."""
    tree = tmp_path / "tree"
    (tree / "sources").mkdir(parents=True)
    (tree / "sources" / "install.wim").write_bytes(b"<html>" * 100)
    with pytest.raises(UsageError, match=r"sources/install\.wim: does not begin like a WIM"):
        read_images(make_iso(tmp_path / "w.iso", tree))


@pytest.mark.media
def test_cut_short_anywhere(tmp_path: Path) -> None:
    """A download that broke off is refused with a hint to compare its digest, wherever it broke off."""
    whole = windows_medium(tmp_path).read_bytes()
    cut = tmp_path / "cut.iso"
    refused = 0
    for part in range(1, 20):
        cut.write_bytes(whole[: len(whole) * part // 20])
        try:
            read_images(cut)
        except UsageError as error:
            refused += "SHA-256" in error.hint or "installation medium" in error.hint
    # What is cut off behind the image file is not missed here.
    assert refused >= 12


@pytest.mark.media
def test_bytes_changed_anywhere(tmp_path: Path) -> None:
    """Changed bytes in the medium's own structures never end in anything but images or a UsageError."""
    whole = windows_medium(tmp_path).read_bytes()
    changed = tmp_path / "changed.iso"
    dice = random.Random(5)
    used = [place for place, byte in enumerate(whole) if byte and 32768 <= place]
    for _ in range(150):
        data = bytearray(whole)
        for place in dice.sample(used[: len(used) // 4], 3):
            data[place] = dice.randrange(256)
        changed.write_bytes(data)
        with contextlib.suppress(UsageError):
            assert read_images(changed)


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 40000, b"CD001" * 20000])
def test_no_iso(tmp_path: Path, content: bytes) -> None:
    """What is no ISO at all is told so."""
    file = tmp_path / "x.iso"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.iso: not a readable ISO"):
        read_images(file)


def test_absent_or_a_directory(tmp_path: Path) -> None:
    """The path is named with the system's reason."""
    with pytest.raises(UsageError, match="No such file or directory"):
        read_images(tmp_path / "none.iso")
    with pytest.raises(UsageError, match="not a file"):
        read_images(tmp_path)


def image(**fields: object) -> WimImage:
    """An image of Windows Server 2022 Standard with a desktop."""
    fixed: dict[str, object] = {
        "index": 1, "edition": "ServerStandard", "installation": "Server", "architecture": "amd64", "build": 20348
    }  # fmt: skip
    return WimImage(**{**fixed, **fields})  # type: ignore[arg-type]


class TestChoice:
    """Which image is taken."""

    def test_evaluation_or_not(self) -> None:
        """Both kinds of media have the edition; one is known for evaluation."""
        for name in ("ServerStandard", "ServerStandardEval"):
            edition, found = choose(SERVER, [image(edition=name)], "standard-desktop")
            assert ("standard-desktop", name) == (edition.name, found.edition)
            assert name.endswith("Eval") == is_evaluation(found)

    def test_first_of_the_template(self) -> None:
        """Without a wish it is the template's first."""
        images = [image(), image(index=2, installation="Server Core")]
        assert 2 == choose(SERVER, images)[1].index

    def test_edition_that_is_not_there(self) -> None:
        """What the medium holds instead is told."""
        with pytest.raises(UsageError, match="edition 'datacenter-core'") as refused:
            choose(SERVER, [image()], "datacenter-core")
        assert "1: no name (ServerStandard, Server, build 20348)" in refused.value.hint

    def test_another_windows(self) -> None:
        """A medium of another Windows is told by its build."""
        with pytest.raises(
            UsageError, match="windows-server-2022 is build 20348, which the medium does not hold"
        ):
            choose(SERVER, [image(build=17763)], "standard-desktop")

    def test_another_architecture(self) -> None:
        """Images for other processors are passed over."""
        with pytest.raises(UsageError, match="does not hold"):
            choose(SERVER, [image(architecture="arm64")], "standard-desktop")
