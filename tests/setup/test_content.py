# SPDX-License-Identifier: MIT
"""Seals: a file that is not what was sealed is found, and what is remembered is never trusted for another content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.setup import content
from harness.setup.content import SEAL, ContentDigests, ContentError, sealed_directories

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
"""SHA-256 of ``hello`` (sha256sum(1))."""


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A sealed directory with a file below it, in a cache."""
    directory = tmp_path / "kind" / "key"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub" / "file").write_text("hello")
    (directory / "other").write_text("other")
    ContentDigests(tmp_path).seal(directory)
    return directory


def flip(file: Path) -> None:
    """Change one bit of a file and set its time of change back."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_seal_names_what_is_there(sealed: Path, tmp_path: Path) -> None:
    """Each file below the directory, by its path, with its SHA-256."""
    assert ContentDigests(tmp_path).check(sealed)["sub/file"] == HELLO
    assert sealed_directories(tmp_path) == [sealed]


def test_one_bit_is_found(sealed: Path, tmp_path: Path) -> None:
    """Size and time of change may be as before: writing changes the inode's time, which nobody can set."""
    ContentDigests(tmp_path).check(sealed)
    flip(sealed / "sub" / "file")
    with pytest.raises(ContentError, match=r"^sub/file has SHA-256 .* and should have 2cf24dba5fb0…$"):
        ContentDigests(tmp_path).check(sealed)


def test_bytes_that_change_without_a_write_are_found_by_reading(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that rots leaves all times as they are: only ``deep`` sees it, and from then on everybody does."""
    monkeypatch.setattr(content, "_name", lambda status: str(status.st_ino))
    ContentDigests(tmp_path).check(sealed)
    flip(sealed / "sub" / "file")
    assert ContentDigests(tmp_path).check(sealed)
    with pytest.raises(ContentError, match="sub/file"):
        ContentDigests(tmp_path).check(sealed, deep=True)
    with pytest.raises(ContentError, match="sub/file"):
        ContentDigests(tmp_path).check(sealed)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda place: (place / "other").unlink(), "other cannot be read: No such file or directory"),
        (lambda place: (place / SEAL).unlink(), "content.json cannot be read: "),
        (lambda place: (place / SEAL).write_text("[" * 100_000), "content.json cannot be read: "),
        (
            lambda place: (place / SEAL).write_text('{"files": {"../x": "0"}}'),
            "content.json is not a list of",
        ),
        (lambda place: (place / SEAL).write_text('{"files": []}'), "content.json is not a list of"),
    ],
)
def test_damage_is_said(sealed: Path, tmp_path: Path, damage: object, words: str) -> None:
    """A file that is gone, and a seal that is gone or nonsense, are damage in words."""
    damage(sealed)  # type: ignore[operator]
    with pytest.raises(ContentError) as caught:
        ContentDigests(tmp_path).check(sealed)
    assert str(caught.value).startswith(words)


def test_a_fifo_holds_nobody_up(sealed: Path, tmp_path: Path) -> None:
    """A pipe in place of a file is damage, and is not waited for."""
    (sealed / "other").unlink()
    os.mkfifo(sealed / "other")
    with pytest.raises(ContentError, match=r"other cannot be read: .* is not a regular file"):
        ContentDigests(tmp_path).check(sealed)


def test_nothing_to_remember_in(tmp_path: Path) -> None:
    """Without a place to write, or with a file in its place, digests are computed each time."""
    (tmp_path / "file").write_text("hello")
    (tmp_path / "digests").write_text("in the way")
    assert ContentDigests(tmp_path).sha256(tmp_path / "file") == HELLO
    assert ContentDigests(None).sha256(tmp_path / "file") == HELLO
    assert not ContentDigests(tmp_path).remembers(tmp_path / "file")


def test_nonsense_that_is_remembered_is_computed_again(sealed: Path, tmp_path: Path) -> None:
    """What another hand wrote among the remembered digests is taken only if it has the form of one."""
    for remembered in (tmp_path / "digests").iterdir():
        remembered.write_text("nonsense")
    assert ContentDigests(tmp_path).check(sealed)["sub/file"] == HELLO


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digests computed longest ago go."""
    monkeypatch.setattr(content, "MOST_REMEMBERED", 3)
    digests = ContentDigests(tmp_path)
    for number in range(6):
        (tmp_path / f"f{number}").write_text(str(number))
        digests.sha256(tmp_path / f"f{number}")
        os.utime(next(iter(sorted((tmp_path / "digests").iterdir(), key=os.path.getmtime, reverse=True))))
    assert len(list((tmp_path / "digests").iterdir())) == 3
    assert digests.remembers(tmp_path / "f5")


@given(before=st.binary(max_size=200), after=st.binary(max_size=200))
def test_a_remembered_digest_is_that_of_the_content(
    before: bytes, after: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is written over a file, its digest is the new content's."""
    place = tmp_path_factory.mktemp("content")
    digests = ContentDigests(place)
    for data in (before, after):
        (place / "file").write_bytes(data)
        assert digests.sha256(place / "file") == hashlib.sha256(data).hexdigest()
        assert digests.sha256(place / "file") == digests.sha256(place / "file", deep=True)
