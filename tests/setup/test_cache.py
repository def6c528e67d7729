# SPDX-License-Identifier: MIT
"""The cache directory: keys, locks, publishing; builders are real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.setup.cache import Cache, cache_directory, digest

BUILDER = """
import subprocess, sys
from pathlib import Path
from harness.deadline import Deadline
from harness.setup.cache import Cache

def build(place, lock):
    with Path(sys.argv[2]).open("a") as file:
        file.write("built\\n")
    (place / "half").touch()
    if sys.argv[3] == "child":
        subprocess.Popen(["cat"], pass_fds=[lock])
    print("building", flush=True)
    sys.stdin.readline()
    (place / "whole").touch()

def say(text):
    print(text, flush=True)

Cache(Path(sys.argv[1]), say).built("thing", "k", build, Deadline(30, "test"), clone=Path.cwd())
print("done", flush=True)
"""


def builder(root: Path, log: Path, kind: str = "alone") -> subprocess.Popen[str]:
    """Start a process that builds ``thing/k`` in the cache at ``root``, waiting for a line on its input half-way."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(root), str(log), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def say(process: subprocess.Popen[str]) -> str:
    """Return the next line that the process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def nothing(text: str) -> None:
    """Listen to nothing."""


def build_whole(place: Path, lock: int) -> None:
    """Build a thing that shows what was in its directory before."""
    (place / "found").write_text(" ".join(path.name for path in place.iterdir()))
    (place / "whole").touch()


def soon() -> Deadline:
    """A deadline for what should take no time."""
    return Deadline(20, "the test")


def test_digest_tells_where_one_input_ends_and_the_next_begins() -> None:
    """Moving a byte from one input to the next gives another key."""
    assert digest("ab", "c") != digest("a", "bc")


@given(st.lists(st.binary()), st.lists(st.binary()))
def test_digest_is_a_function_of_its_inputs_and_nothing_else(one: list[bytes], other: list[bytes]) -> None:
    """Two lists of inputs have the same key if and only if they are the same list."""
    assert (one == other) == (digest(*one) == digest(*other))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOTPLUG_HARNESS_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/hotplug-harness")),
        ({"HOTPLUG_HARNESS_CACHE": "", "XDG_CACHE_HOME": ""}, Path("~/.cache/hotplug-harness").expanduser()),
    ],
)
def test_the_nearest_variable_names_the_cache(environment: dict[str, str], expected: Path) -> None:
    """The harness's own variable wins over XDG's, and an empty one counts as none."""
    assert expected == cache_directory(environment)


def test_a_relative_cache_directory_is_refused() -> None:
    """A relative path would name another directory in every working directory."""
    with pytest.raises(UsageError, match="HOTPLUG_HARNESS_CACHE is 'here'"):
        cache_directory({"HOTPLUG_HARNESS_CACHE": "here"})


@pytest.mark.parametrize("path", ["/home/Ana B", "/a:b", "/a$b", "/a\nb"])
def test_a_cache_that_make_cannot_build_in_is_refused(path: str) -> None:
    """A space in the way is said at once, not by a failed build of the twin."""
    with pytest.raises(UsageError, match="make cannot build in a path with a space"):
        cache_directory({"XDG_CACHE_HOME": path})


def test_two_who_start_together_build_once(tmp_path: Path) -> None:
    """The second waits, says so, and uses what the first built."""
    root, log = tmp_path / "cache", tmp_path / "log"
    first = builder(root, log)
    assert say(first) == "building"
    second = builder(root, log)
    assert "waiting for another ./lab" in say(second)
    first.communicate("go on\n")
    assert (second.communicate("go on\n")[0], log.read_text()) == ("done\n", "built\n")


def test_what_a_killed_builder_left_is_never_used(tmp_path: Path) -> None:
    """After kill -9 the next one starts from an empty directory."""
    root, log = tmp_path / "cache", tmp_path / "log"
    killed = builder(root, log)
    assert say(killed) == "building"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    cache = Cache(root, nothing)
    assert cache.ready("thing", "k") is None
    place = cache.built("thing", "k", build_whole, soon(), clone=tmp_path)
    assert (place / "found").read_text() == ""
    assert cache.ready("thing", "k") == place


def test_a_child_that_outlives_its_killed_builder_keeps_the_lock(tmp_path: Path) -> None:
    """Nobody builds into a directory that an orphaned pip still writes to."""
    root = tmp_path / "cache"
    killed = builder(root, tmp_path / "log", "child")
    assert say(killed) == "building"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    cache = Cache(root, nothing)
    with pytest.raises(InfrastructureError, match=r"another process held the lock .* for 0\.2 s"):
        cache.built("thing", "k", build_whole, Deadline(0.2, "the test"), clone=tmp_path)
    killed.communicate()  # closes the input that the child, a cat, waits for: it ends
    assert (cache.built("thing", "k", build_whole, soon(), clone=tmp_path) / "whole").exists()


def test_a_failed_build_is_not_used_and_can_be_tried_again(tmp_path: Path) -> None:
    """The error of the builder comes through, and the next build finds an empty directory."""
    cache = Cache(tmp_path / "cache", nothing)

    def fail(place: Path, lock: int) -> None:
        (place / "half").touch()
        raise InfrastructureError("no network")

    with pytest.raises(InfrastructureError, match="no network"):
        cache.built("thing", "k", fail, soon(), clone=tmp_path)
    place = cache.built("thing", "k", build_whole, soon(), clone=tmp_path)
    assert (place / "found").read_text() == ""


def test_what_is_there_is_not_built_again_until_it_is_forgotten(tmp_path: Path) -> None:
    """A finished thing is returned as it is; a forgotten one is made anew."""
    cache = Cache(tmp_path / "cache", nothing)
    built: list[Path] = []

    def build(place: Path, lock: int) -> None:
        built.append(place)

    for _ in range(2):
        cache.built("thing", "k", build, soon(), clone=tmp_path)
    assert len(built) == 1
    cache.forget("thing", "k")
    cache.built("thing", "k", build, soon(), clone=tmp_path)
    assert len(built) == 2


def test_a_build_removes_what_nobody_will_use_again(tmp_path: Path) -> None:
    """Gone: what belongs to a clone that is gone, an outgrown thing of the same clone, one unused for a month."""
    cache = Cache(tmp_path / "cache", nothing)
    here, there, away, gone = (tmp_path / name for name in ("here", "there", "away", "gone"))
    day = 24 * 3600
    for clone, age in ((here, 0.5), (here, 1.5), (there, 1.5), (away, 31), (gone, 0)):
        clone.mkdir(exist_ok=True)
        place = cache.built("thing", f"{clone.name} {age}", build_whole, soon(), clone=clone)
        long_ago = time.time() - age * day
        os.utime(place / "complete.json", (long_ago, long_ago))
    gone.rmdir()
    cache.built("thing", "new", build_whole, soon(), clone=here)
    assert {"here 0.5", "there 1.5", "new"} == {
        path.name for path in (tmp_path / "cache" / "thing").iterdir()
    }


def test_what_clones_share_stays_while_one_of_them_uses_it(tmp_path: Path) -> None:
    """It belongs to no clone, so that none takes it along; after a week without use the next build removes it."""
    cache = Cache(tmp_path / "cache", nothing)
    for name, days in (("used", 6), ("left", 8)):
        place = cache.built("thing", name, build_whole, soon(), clone=None)
        long_ago = time.time() - days * 24 * 3600
        os.utime(place / "complete.json", (long_ago, long_ago))
    cache.built("thing", "new", build_whole, soon(), clone=None)
    assert {"used", "new"} == {path.name for path in (tmp_path / "cache" / "thing").iterdir()}


def test_a_thing_knows_whether_it_was_moved(tmp_path: Path) -> None:
    """A link that leads to it is no move; another path while the first is gone is one."""
    cache = Cache(tmp_path / "cache", nothing)
    cache.built("thing", "k", build_whole, soon(), clone=None)
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    assert not cache.moved("thing", "k")
    assert not Cache(tmp_path / "link", nothing).moved("thing", "k")
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    assert Cache(tmp_path / "elsewhere", nothing).moved("thing", "k")


def test_a_full_disk_is_said_before_anything_is_built(tmp_path: Path) -> None:
    """The message gives what is free, what is needed and the way out."""
    cache = Cache(tmp_path / "cache", nothing, space=1 << 62)
    with pytest.raises(InfrastructureError, match="MiB are free and 4398046511104 MiB are needed") as caught:
        cache.built("thing", "k", build_whole, soon(), clone=tmp_path)
    assert "HOTPLUG_HARNESS_CACHE" in caught.value.hint


def test_a_cache_that_is_no_directory_is_said_so(tmp_path: Path) -> None:
    """A file in the way is named, with the variable that chooses another place."""
    (tmp_path / "cache").touch()
    cache = Cache(tmp_path / "cache", nothing)
    with pytest.raises(
        InfrastructureError, match=f"cannot use the cache {tmp_path}/cache: Not a directory"
    ) as caught:
        cache.built("thing", "k", build_whole, soon(), clone=tmp_path)
    assert "HOTPLUG_HARNESS_CACHE" in caught.value.hint
