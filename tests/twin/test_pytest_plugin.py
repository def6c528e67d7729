# SPDX-License-Identifier: MIT
"""The pytest plugin as a stranger's suite sees it, in a pytest of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from twin.running import CACHE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pytest.md"

RunPytest = Callable[..., pytest.RunResult]

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.qemu


@pytest.fixture(autouse=True)
def other_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other pytest has the image and the snapshots that are there, and no Hypothesis, which takes a quarter of its start."""
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(CACHE))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")


def test_good_guest_passes_and_a_faulty_one_fails(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """A test that never asks for the verdict passes on an honest guest and fails, with the rule, on one with an injected fault."""
    pytester.makepyfile(
        """
        import pytest

        def test_honest(hotplug):
            hotplug.add_cpu()

        @pytest.mark.inject_fault("duplicate-start")
        def test_planted(hotplug):
            hotplug.add_cpu()

        @pytest.mark.inject_fault("duplicate-start")
        def test_planted_and_expected(hotplug, verdict):
            hotplug.add_cpu()
            assert verdict().verdict == "violated"
        """
    )
    result = run_pytest("--hotplug-accel=tcg", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*the contract is violated:*", "*SYNC-EXACTLY-TWO*", "*evidence: *"])


def test_page_is_executed(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """The example of the page passes, and the page lists every option of the plugin."""
    page = PAGE.read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    pytester.makepyfile(block)
    run_pytest("--hotplug-accel=tcg", "-p", "no:cacheprovider").assert_outcomes(passed=3)
    help_text = run_pytest("--help", "-p", "no:cacheprovider").stdout.str()
    assert set(re.findall(r"--hotplug-[a-z-]+", help_text)) == set(re.findall(r"--hotplug-[a-z-]+", page))


def test_unknown_guest_is_an_error_with_a_hint(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """A guest that does not exist is named, with those that do, before anything is collected."""
    pytester.makepyfile("def test_it(guest):\n    pass\n")
    result = run_pytest("--hotplug-guest=tvin", "-p", "no:cacheprovider")
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(["*no guest is called 'tvin'*", "*Did you mean 'twin'*"])


def test_plugin_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    """A suite that uses none of the fixtures imports only the plugin and what its options are declared in."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            ours = [m for m in sys.modules if m.startswith("harness.") and m != "harness.pytest_plugin"]
            declared = ["capture", "capture.live", "capture.live.channel_limits", "choice", "errors", "invocation", "run", "run.option", "run.options", "size"]
            assert sorted(m for m in ours if not m.startswith("harness.testing")) == [f"harness.{m}" for m in declared]
            assert "msgspec" not in sys.modules
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
