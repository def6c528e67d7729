# SPDX-License-Identifier: MIT
"""Which tests run in the same process when the suite runs in several."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
from side_by_side import group, pytest_xdist_auto_num_workers
from unsteady import VARIABLE

from tests.syntax import nodes, parse, statements

TESTS = Path(__file__).resolve().parent
PLUGINS = ("-p", "xdist", "-p", "no:cacheprovider")

FILE = """
import os
import pytest

@pytest.mark.parametrize("number", range(4))
def test_it(number, note): note("{name}", os.getpid())
"""
SOMETIMES = """
from pathlib import Path

def test_sometimes(note):
    mark = Path(__file__).with_suffix(".mark")
    if not mark.exists():
        mark.touch()
        note("sometimes", __import__("os").getpid())
        raise AssertionError(f"{mark.stem} was too early")
"""
CONFTEST = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import pytest
pytest_plugins = ["side_by_side", "unsteady"]

def pytest_configure(config):
    config.addinivalue_line("markers", "wine")

@pytest.fixture
def note(request):
    def write(group, process):
        with open(request.config.rootpath / "notes", "a") as file:
            file.write(f"{{group}} {{process}}\\n")
    return write
"""


@pytest.fixture
def few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process of the other pytest would load the harness's plugin, and more that these tests do not need."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.mark.usefixtures("few_plugins")
def test_files_and_parts_stay_together(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of a file share a process, and so do the files of a part.

    As tox asks for them there are two processes for each processor, here for one, and all are used. Of three tests that fail once,
    not all in the same process, two may pass at the second attempt, as in one process (``test_unsteady.py``).
    """
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setenv(VARIABLE, "2")
    pytester.makeconftest(CONFTEST)
    plain = {f"test_{name}": FILE.format(name=name) for name in ("a", "d", "e", "g")}
    # Files are given out in turn: b and c would go to different processes.
    marked = {
        f"test_{name}": FILE.format(name="wine") + "\npytestmark = pytest.mark.wine"
        for name in ("b", "c", "f")
    }
    # The first two files are begun at once, each in a process of its own.
    unsteady = {f"test_{number}": SOMETIMES for number in range(3)}
    pytester.makepyfile(**plain, **marked, **unsteady)
    words = (
        "-n",
        "logical",
        "--maxprocesses",
        "4",
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",
        *PLUGINS,
        "-p",
        "pytest_rerunfailures",
        "-v",
    )
    result = pytester.runpytest_inprocess(*words)
    assert {"passed": 30, "failed": 1, "rerun": 2} == result.parseoutcomes()
    text = result.stdout.str()
    assert [name for name in unsteady if f"{name} was too early" not in text] == []
    notes = [line.split() for line in (pytester.path / "notes").read_text().splitlines()]
    used = {group: {process for name, process in notes if name == group} for group, _ in notes}
    assert 2 == len(used.pop("sometimes"))
    assert ["a", "d", "e", "g", "wine"] == sorted(used)
    assert [1] * 5 == [len(processes) for processes in used.values()]
    result.stdout.fnmatch_lines(["2 workers *"])
    assert 2 == len(set().union(*used.values()))


def test_each_processor_has_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that this process may use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    assert 6 == pytest_xdist_auto_num_workers()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@pytest.mark.libvirt\ndef test_it(): pass", "libvirt"),
        ("pytestmark = [pytest.mark.qemu, pytest.mark.libvirt]", "libvirt"),
        (
            "BOTH = [pytest.param(1, marks=pytest.mark.wine), pytest.param(2, marks=pytest.mark.libvirt)]",
            "libvirt",
        ),
        ("@pytest.mark.qemu\ndef test_wine(): pass", ""),
        ("@pytest.mark.wineglass\ndef test_it(): pass", ""),
    ],
)
def test_the_part_of_a_file_is_read_from_its_markers(tmp_path: Path, text: str, expected: str) -> None:
    """However they are written; a name that contains that of a part is none."""
    file = tmp_path / "test_it.py"
    file.write_text(text, encoding="utf-8")
    assert expected == group(file)


@pytest.mark.usefixtures("few_plugins")
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_file_that_is_not_there_is_named(pytester: pytest.Pytester, workers: str) -> None:
    """Also in processes of pytest-xdist, which would else run nothing in silence."""
    pytester.makeconftest(CONFTEST)
    words = ("-n", workers, "--dist", "loadfile", *PLUGINS, "test_nowhere.py::test_it")
    result = pytester.runpytest_inprocess(*words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*file or directory not found: test_nowhere.py*"])


ANOTHER_EACH_TIME = {
    "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "now", "utcnow", "today",
    "getpid", "uuid4", "urandom", "token_hex", "token_bytes", "mkdtemp", "mkstemp", "gettempdir", "id", "hash",
}  # fmt: skip
"""Calls whose result differs between two processes, or between two seconds."""


CALLED = re.compile(rf"\b(?:{'|'.join(sorted(ANOTHER_EACH_TIME))})\s*\(")
"""Where one of them may be called."""


def may_differ(text: str) -> bool:
    """Return whether a module calls one of them outside of the functions on its first level. Their decorators are outside."""
    return bool(CALLED.search(text)) and any(
        CALLED.search(statement) for statement in statements(text) if not statement.startswith("def ")
    )


def differing_names(text: str) -> list[int]:
    """Return the lines of ``text`` that name a test by what differs between two processes."""
    return sorted(
        call.lineno
        for function in nodes(parse(text))
        if isinstance(function, ast.FunctionDef)
        for decorator in function.decorator_list
        for call in nodes(decorator)
        if isinstance(call, ast.Call)
        and getattr(call.func, "attr", getattr(call.func, "id", "")) in ANOTHER_EACH_TIME
    )


def test_each_process_gives_the_tests_the_same_names() -> None:
    """No parameter of a test is made from a clock or a process: the processes would collect different tests."""
    found = {
        str(file.relative_to(TESTS)): lines
        for file in sorted(TESTS.rglob("test_*.py"))
        for text in [file.read_text(encoding="utf-8")]
        if may_differ(text) and (lines := differing_names(text))
    }
    assert {} == found


def test_a_parameter_made_from_the_clock_is_found() -> None:
    """Also within an expression; what the test itself asks the clock is its own matter."""
    text = """
@pytest.mark.parametrize("when", [b"%d" % (time.time() + 3), 4])
def test_it(when):
    assert when < time.time()
"""
    assert (True, [2]) == (may_differ(text), differing_names(text))
