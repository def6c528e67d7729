# SPDX-License-Identifier: MIT
"""The suite on a machine that has what ``./lab`` always installs, and no other part."""

from __future__ import annotations

import os
import random
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


def asked(item):
    needed = {name for fixture in used_fixtures(item) for name in getattr(fixture.func, "needed_parts", ())}
    return frozenset(OPTIONAL & (needed | {mark.name for mark in item.iter_markers()}))


class Modules:
    def pytest_collection_modifyitems(self, items):
        parts = {item: asked(item) for item in items}
        modules = {item.path for item in items if parts[item]}
        others = defaultdict(dict)
        for item in items:
            if not parts[item]:
                others[item.path].setdefault(item.nodeid.partition("[")[0])
        chance = random.Random(SEED)
        tried = {chance.choice(list(others[path])) for path in sorted(modules) if others[path]}
        times = Counter()
        left = []
        for item in items:
            name = item.nodeid.partition("[")[0]
            times[name, parts[item]] += 1
            if (parts[item] or name in tried) and times[name, parts[item]] <= (2 if parts[item] else 1):
                left.append(item)
        items[:] = left


parts.Need.found = by_name
OPTIONAL = set(sys.argv[1].split(","))
SEED = int(sys.argv[2])
sys.exit(pytest.main(sys.argv[3:], plugins=[Modules()]))
"""
"""Runs the tests that carry the marker of an optional part or use a fixture that needs one, and one other of each module.

Each is tried with two of its parameters for each set of parts, and one that needs none with one: what it uses is the same for all.
Only the base is found by an absolute path, which PATH does not hide.
"""

SEED, SHARE = 1, 2
"""What the places and the tests are drawn with, and how many places for each part."""

MARKER = re.compile(rf"\bmark\.({'|'.join(sorted(OPTIONAL))})\b|\bgetattr\(pytest\.mark\b")


def marked_places() -> dict[Path, set[str]]:
    """Return the files of tests, and the folders with a conftest, in which markers of optional parts are written, and which."""
    found = {}
    for file in sorted(TESTS.rglob("*.py")):
        if markers := set(MARKER.findall(file.read_text(encoding="utf-8"))):
            # What imports a marker would not be collected.
            assert file.name.startswith(("test_", "conftest")), (
                f"{file} has a part's marker and is no file of tests"
            )
            found[file.parent if file.name == "conftest.py" else file] = markers
    return found


def share() -> list[Path]:
    """Return the places that are tried: for each part a seeded few."""
    places = marked_places()
    chance = random.Random(SEED)
    of_part = [[place for place, markers in places.items() if part in markers] for part in sorted(OPTIONAL)]
    return sorted({place for each in of_part for place in chance.sample(each, min(SHARE, len(each)))})


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
    """In a seeded share of the modules that use parts, tests are skipped for every part that is missing, and the others pass.

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
            *words,
            *map(str, share()),
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
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )  # fmt: skip
    assert 0 == ended.returncode, ended.stdout[-4000:] + ended.stderr[-2000:]
