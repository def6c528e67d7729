# SPDX-License-Identifier: MIT
"""The directory of a root: never removed across a mount, never while it is used, always when it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from tests.fresh import place as module
from tests.fresh.place import mounts_below, new_place, remove

MOUNTINFO = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 254:0 /a /x/root-1/root rw - ext4 /dev/vda rw
31 30 0:5 / /x/root-1/root/a\040b rw - proc proc rw
32 22 0:5 / /x/root-10 rw - proc proc rw
"""


def test_mounts_below_a_directory_are_found() -> None:
    """The latest comes first, names are read as proc(5) writes them, and a longer name is another directory."""
    assert [Path("/x/root-1/root/a b"), Path("/x/root-1/root")] == mounts_below(Path("/x/root-1"), MOUNTINFO)


def fail_half_way(root: Path) -> None:
    for _ in range(2):
        root.mkdir()


def test_a_place_is_removed_after_use(tmp_path: Path) -> None:
    """With everything in it, also when what used it failed."""
    with pytest.raises(FileExistsError), new_place(tmp_path, print) as (place, _):
        fail_half_way(place / "root")
    assert ["lock"] == [each.name for each in tmp_path.iterdir()]


def test_what_was_left_is_removed_and_what_is_used_is_not(tmp_path: Path) -> None:
    """A place whose program still runs is locked; one that was kept, or whose program was killed, is not."""
    said: list[str] = []
    with new_place(tmp_path, said.append, keep=True) as (kept, _):
        pass
    with new_place(tmp_path, said.append) as (first, _):
        assert [f"removing what an earlier run left: {kept}"] == said
        with new_place(tmp_path, said.append) as (second, _):
            assert {first, second} == set(tmp_path.glob("root-*"))
    assert 1 == len(said)


def test_a_lock_outlives_the_program_in_its_children(tmp_path: Path) -> None:
    """What the program started still holds the place, so that nobody removes it from under that."""
    said: list[str] = []
    with new_place(tmp_path, said.append, keep=True) as (place, lock):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock])
    try:
        with new_place(tmp_path, said.append):
            assert place.exists()
    finally:
        child.communicate()
    with new_place(tmp_path, said.append):
        assert not place.exists()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is fetched, with the way out."""
    monkeypatch.setattr(module, "SPACE_NEEDED", 1 << 60)
    with pytest.raises(InfrastructureError, match="GiB free") as caught, new_place(tmp_path, print):
        pass
    assert "HOTPLUG_HARNESS_CACHE" in caught.value.hint
    assert [] == list(tmp_path.glob("root-*"))


IN_NAMESPACE = """
import sys
from pathlib import Path
from harness.errors import InfrastructureError
from tests.fresh.place import remove
try:
    remove(Path(sys.argv[1]))
except InfrastructureError as error:
    sys.exit(str(error))
"""
MOUNT = 'mount --bind "$1/outside" "$1/root-1/root/inside" && shift && "$@"'


@pytest.fixture
def with_mount(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Remove a place below which another directory is mounted, in a namespace that takes the mount with it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("kept")
    (tmp_path / "root-1" / "root" / "inside").mkdir(parents=True)

    def run(before: str) -> subprocess.CompletedProcess[str]:
        script = f'{MOUNT.partition("&&")[0]} && {before} shift && exec "$@"'
        words = [sys.executable, "-c", IN_NAMESPACE, str(tmp_path / "root-1")]
        return subprocess.run(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                "sh",
                str(tmp_path),
                *words,
            ],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.mark.root
def test_a_mount_goes_before_the_directory(
    tmp_path: Path, with_mount: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    """What was mounted is still there; the place is not."""
    ended = with_mount("")
    assert (0, "") == (ended.returncode, ended.stderr)
    assert "kept" == (tmp_path / "outside" / "precious").read_text()
    assert not (tmp_path / "root-1").exists()


@pytest.mark.root
def test_a_mount_that_does_not_go_keeps_the_directory(
    tmp_path: Path, with_mount: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    """Somebody works in it: the message names it, and nothing is removed."""
    ended = with_mount('cd "$1/root-1/root/inside" &&')
    assert 1 == ended.returncode
    assert f"{tmp_path}/root-1/root/inside is still mounted" in ended.stderr
    assert "kept" == (tmp_path / "outside" / "precious").read_text()
    assert (tmp_path / "root-1" / "root" / "inside").is_dir()


def test_a_place_that_is_gone_already_is_no_problem(tmp_path: Path) -> None:
    """Two that remove the same both succeed."""
    remove(tmp_path / "root-1")
    assert [] == [each.name for each in tmp_path.iterdir()]
