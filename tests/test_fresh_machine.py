# SPDX-License-Identifier: MIT
"""The suite on a machine that has what ``./lab`` always installs, and no other part."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from part_markers import PARTS

from harness.setup.parts import BASE, REQUIRABLE

TESTS = Path(__file__).resolve().parent
OPTIONAL = {*REQUIRABLE, "powershell"}
BARE = """
import random
import sys
from collections import Counter, defaultdict
import pytest
from part_markers import used_fixtures
from harness.setup import parts

found = parts.Need.found


def by_name(need, path=None):
    if need not in parts.BASE.needs:
        need = need._replace(evidence=tuple(each for each in need.evidence if not each.startswith("/")))
    return found(need, path)


def concerned(item):
    needed = {name for fixture in used_fixtures(item) for name in getattr(fixture.func, "needed_parts", ())}
    return not OPTIONAL.isdisjoint(needed | {mark.name for mark in item.iter_markers()})


class Modules:
    def pytest_collection_modifyitems(self, items):
        others = defaultdict(dict)
        for item in items:
            if not concerned(item):
                others[item.path].setdefault(item.nodeid.partition("[")[0])
        modules = {item.path for item in items if concerned(item)}
        tried = {name for path in modules for name in drawn(list(others[path]))}
        times = Counter()
        left = []
        for item in items:
            name = item.nodeid.partition("[")[0]
            times[name] += 1
            if item.path in modules and (concerned(item) or name in tried and times[name] <= 2):
                left.append(item)
        items[:] = left


def drawn(names):
    return random.Random(SEED).sample(names, min(len(names), SHARE))


parts.Need.found = by_name
OPTIONAL = set(sys.argv[1].split(","))
SEED, SHARE = map(int, sys.argv[2:4])
sys.exit(pytest.main(sys.argv[4:], plugins=[Modules()]))
"""
"""Runs the modules whose tests carry the marker of an optional part or use a fixture that needs one.

Of the tests of a module that need no part a seeded share is tried, each with two of its parameters: what it uses is the same for
all. Only the base is found by an absolute path, which PATH does not hide.
"""

SEED, SHARE = 1, 2
"""What the tests of a module that need no part are drawn with, and how many."""

MARKER = re.compile(rf"\bmark\.({'|'.join(sorted(OPTIONAL))})\b|\bgetattr\(pytest\.mark\b")


def marked_places() -> list[Path]:
    """Return the files of tests, and the folders with a conftest, in which a marker of an optional part is written."""
    found = [file for file in sorted(TESTS.rglob("*.py")) if MARKER.search(file.read_text(encoding="utf-8"))]
    for file in found:
        # What imports a marker would not be collected.
        assert file.name.startswith(("test_", "conftest")), (
            f"{file} has a part's marker and is no file of tests"
        )
    return [file.parent if file.name == "conftest.py" else file for file in found]


def bare_path(folder: Path) -> str:
    """Make a directory that leads to every program of PATH except those of the optional parts, and return it."""
    evidence = {Path(each).name for name in OPTIONAL for need in PARTS[name].needs for each in need.evidence}
    hidden = evidence - {Path(each).name for need in BASE.needs for each in need.evidence}
    folder.mkdir()
    for directory in os.get_exec_path():
        for program in Path(directory).glob("*"):
            if program.name not in hidden and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return str(folder)


def test_parts_are_marked_where_markers_are_looked_for(request: pytest.FixtureRequest) -> None:
    """Of all tests that are collected with this one, none has a part's marker that is written in another file."""
    places = marked_places()
    elsewhere = {
        str(item.path)
        for item in request.session.items
        if not OPTIONAL.isdisjoint(mark.name for mark in item.iter_markers())
        and not any(item.path.is_relative_to(place) for place in places)
    }
    assert set() == elsewhere


def test_a_missing_part_fails_no_test(tmp_path: Path) -> None:
    """In the modules that use parts, tests are skipped for every part that is missing, and the others pass.

    ``tox -e fresh`` tries the whole suite so, with all parameters, also tests without a part's marker that boot a guest or run the
    driver in a process.
    """
    selected = f"not qemu and not hypothesis and (not host or {' or '.join(sorted(OPTIONAL))})"
    words = ["-q", "-rs", "-m", selected, "-o", f"cache_dir={tmp_path / 'cache'}"]
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            BARE,
            ",".join(OPTIONAL),
            str(SEED),
            str(SHARE),
            *words,
            *map(str, marked_places()),
        ],
        env={**os.environ, "PYTHONPATH": str(TESTS), "PATH": bare_path(tmp_path / "bin")},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout[-8000:] + ended.stderr[-2000:]
    assert OPTIONAL == set(re.findall(r"^SKIPPED .*: (\w+): this machine lacks", ended.stdout, re.MULTILINE))
    assert 0 < int(re.findall(r"(\d+) passed", ended.stdout)[-1])


def test_ctrl_c_reaches_what_a_test_starts_in_a_job_in_the_background() -> None:
    """A shell without job control has such a job ignore SIGINT; what the suite interrupts must not inherit that."""
    name = "tests/test_program.py::test_nothing_is_left_after_ctrl_c"
    ended = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )  # fmt: skip
    assert 0 == ended.returncode, ended.stdout[-4000:] + ended.stderr[-2000:]
