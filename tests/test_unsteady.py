# SPDX-License-Identifier: MIT
"""CI repeats a failed test once, for so many tests, and shows what failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from unsteady import VARIABLE

TESTS = Path(__file__).resolve().parent
PLUGINS = ("-p", "pytest_rerunfailures", "-p", "no:cacheprovider")


@pytest.fixture(autouse=True)
def few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process of the other pytest would load the harness's plugin, and more that these tests do not need."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


SOMETIMES = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("name", {names})
def test_sometimes(name):
    mark = Path(__file__).with_name(name)
    if not mark.exists():
        mark.touch()
        raise AssertionError(f"{{name}} was too early")
"""


def repeated(pytester: pytest.Pytester, *, names: list[str]) -> pytest.RunResult:
    """Run tests that fail at their first attempt."""
    pytester.makepyfile(SOMETIMES.format(names=names))
    pytester.makeconftest(f"import sys\nsys.path.insert(0, {str(TESTS)!r})\npytest_plugins = ['unsteady']\n")
    return pytester.runpytest_inprocess(*PLUGINS)


@pytest.mark.parametrize(
    ("allowed", "passed", "failed"),
    [("", 0, 2), ("1", 1, 1), ("2", 2, 0)],
)
def test_a_failed_test_is_repeated_once(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    allowed: str,
    passed: int,
    failed: int,
) -> None:
    """So many tests may pass at the second attempt, and the first attempt's traceback is shown.

    Over all workers of pytest-xdist: ``test_side_by_side.py`` tries that in the processes that it starts.
    """
    monkeypatch.setenv(VARIABLE, allowed)
    names = ["one", "two", "three"][: passed + failed]
    result = repeated(pytester, names=names)
    shown = result.parseoutcomes()
    assert (shown.get("passed", 0), shown.get("failed", 0), shown.get("rerun", 0)) == (passed, failed, passed)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK)
    text = result.stdout.str()
    assert [name for name in names if f"{name} was too early" not in text] == []


def test_what_fails_twice_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second attempt is no third."""
    monkeypatch.setenv(VARIABLE, "3")
    pytester.makepyfile("def test_never():\n    assert False\n")
    pytester.makeconftest(f"import sys\nsys.path.insert(0, {str(TESTS)!r})\npytest_plugins = ['unsteady']\n")
    result = pytester.runpytest_inprocess(*PLUGINS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"failed": 1, "rerun": 1}
