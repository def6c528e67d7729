# SPDX-License-Identifier: MIT
"""What becomes of a test whose part is missing, with and without ``--require``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from part_markers import ELSEWHERE, POWERSHELL, SHARED, VARIABLE, needs, part_missing

from harness.setup.parts import part

FULL_DISKS = [
    file
    for file in sorted(Path(__file__).parent.rglob("test_*.py"))
    if file.name != Path(__file__).name and "with small_disk(" in file.read_text(encoding="utf-8")
]
"""The files whose tests mount a disk of their own."""

CONFTEST = """
from pathlib import Path

import pytest
from part_markers import PartWatch

def pytest_configure(config):
    for name in ("wine", "postgres", "hardware"):
        config.addinivalue_line("markers", name)
    missing = {"wine": lambda: "no wine here", "postgres": lambda: "", "hardware": lambda: "no Windows here"}
    config.pluginmanager.register(PartWatch(missing, %r))
"""
TESTS = """
import pytest

@pytest.fixture
def costly():
    raise RuntimeError("the fixture of a skipped test was made")

@pytest.mark.wine
def test_wine(costly): pass

@pytest.mark.postgres
def test_postgres(): pass

@pytest.mark.hardware
def test_hardware(): pass

def test_plain(): pass
"""


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI's own setting does not reach the runs of these tests."""
    monkeypatch.delenv(VARIABLE, raising=False)


def run(
    pytester: pytest.Pytester, required: list[str], *arguments: str, tests: str = TESTS
) -> pytest.RunResult:
    """Run ``tests`` on a machine that has PostgreSQL and lacks Wine, requiring the parts in ``required``."""
    pytester.makeconftest(CONFTEST % (required,))
    pytester.makepyfile(tests)
    return pytester.runpytest_inprocess(
        "-rs", "-p", "no:hotplug_harness", "-p", "no:cacheprovider", *arguments
    )


def test_a_missing_part_skips_its_tests_before_their_fixtures_and_says_why(pytester: pytest.Pytester) -> None:
    """The skip carries the reason; the tests of parts that are there run; hardware is left out."""
    result = run(pytester, [])
    result.assert_outcomes(passed=2, skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["SKIPPED*wine: no wine here"])


def test_a_required_part_that_is_missing_fails_its_tests(pytester: pytest.Pytester) -> None:
    """The failure names the reason of the skip it replaces."""
    result = run(pytester, ["wine"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2, errors=1, deselected=1)
    result.stdout.fnmatch_lines(["*--require wine: this test must run, but was skipped: *no wine here*"])


def test_a_required_part_that_ran_passes(pytester: pytest.Pytester) -> None:
    """Requiring what is there changes nothing."""
    result = run(pytester, ["postgres"])
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=2, skipped=1, deselected=1)


def test_a_required_part_of_which_no_test_ran_fails_the_run(pytester: pytest.Pytester) -> None:
    """A selection that leaves the required tests out does not pass silently."""
    result = run(pytester, ["postgres"], "-k", "plain")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["--require postgres: no test marked 'postgres' ran"])


def test_workers_count_together(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A required part that one worker tested is tested; one that no worker tested fails the run."""
    path = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    pytester.makeconftest(path + CONFTEST % (["postgres", "wine"],))
    pytester.makepyfile(
        test_one="import pytest\n@pytest.mark.postgres\ndef test_one(): pass", test_two="def test_two(): pass"
    )
    # Of what is installed each process loads no more than it needs.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = pytester.runpytest_inprocess(
        "-n", "2", "--dist", "loadfile", "-p", "xdist", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    absent = [line for line in result.outlines if line.startswith("--require")]
    assert ["--require wine: no test marked 'wine' ran"] == absent


def test_a_required_test_that_skips_itself_fails(pytester: pytest.Pytester) -> None:
    """A skip from inside the test counts as much as one from its marker."""
    tests = """
        import pytest

        @pytest.mark.postgres
        def test_shy(): pytest.skip("not today")

        @pytest.mark.postgres
        def test_bold(): pass
    """
    result = run(pytester, ["postgres"], tests=tests)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*must run, but was skipped: *not today*"])


USING = """
from pathlib import Path

import pytest
from part_markers import needs

@pytest.fixture
@needs("postgres")
def database(): return 1

@pytest.fixture
def table(database): return database

@pytest.fixture
def chosen(request): return request.getfixturevalue("table")

class TestOverridden:
    @pytest.fixture
    def database(self): return 2

    def test_other(self, table): assert 2 == table

@pytest.mark.skip(reason="never set up")
def test_skipped(table): pass
"""


@pytest.mark.parametrize("fixture", ["database", "table"])
def test_a_fixtures_part_is_marked_on_each_test_that_uses_it(pytester: pytest.Pytester, fixture: str) -> None:
    """Directly or through another fixture, and although the part is there: nothing runs, and the test is named."""
    result = run(pytester, [], tests=USING + f"def test_it({fixture}): pass")
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(["*::test_it uses the fixture 'database' but lacks its marker postgres"])
    marked = run(pytester, [], tests=USING + f"@pytest.mark.postgres\ndef test_it({fixture}): pass")
    marked.assert_outcomes(passed=2, skipped=1)


def test_a_fixture_that_is_asked_for_by_value_is_found_when_it_is_made(pytester: pytest.Pytester) -> None:
    """No signature names it, so that only the tests that ran are known to carry its markers."""
    result = run(pytester, [], tests=USING + "def test_it(chosen): pass")
    result.assert_outcomes(passed=1, skipped=1, errors=1)
    result.stdout.fnmatch_lines(["*::test_it uses the fixture 'database' but lacks its marker postgres"])
    marked = run(pytester, [], tests=USING + "@pytest.mark.postgres\ndef test_it(chosen): pass")
    marked.assert_outcomes(passed=2, skipped=1)


def test_a_fixture_cannot_need_what_is_no_part() -> None:
    """A typo would otherwise be a need that no test could lack."""
    with pytest.raises(KeyError, match="whine"):
        needs("whine")(lambda: None)


def test_parts_may_be_required_one_after_the_other(pytester: pytest.Pytester) -> None:
    """A second --require adds to the first, which ./lab gives."""
    pytester.makeconftest("pytest_plugins = ['part_markers']")
    pytester.makeini("[pytest]\nmarkers = browser")
    pytester.makepyfile("def test_plain(): pass")
    words = ("--require", "media,ntfs", "--require", "powershell")
    result = pytester.runpytest_inprocess("-p", "no:hotplug_harness", "-p", "no:cacheprovider", *words)
    assert ["media", "ntfs", "powershell"] == [
        line.split()[1].rstrip(":") for line in result.stdout.lines if line.startswith("--require")
    ]


def test_an_expected_failure_of_a_required_test_stays_one(pytester: pytest.Pytester) -> None:
    """xfail is a result of the test's own; it ran."""
    tests = """
        import pytest

        @pytest.mark.postgres
        @pytest.mark.xfail(strict=True)
        def test_known(): assert False
    """
    result = run(pytester, ["postgres"], tests=tests)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(xfailed=1)


def test_hardware_is_selected_by_name_only(pytester: pytest.Pytester) -> None:
    """With -m hardware the tests for real Windows are in, and skip with what is missing."""
    result = run(pytester, [], "-m", "hardware")
    result.assert_outcomes(skipped=1, deselected=3)
    result.stdout.fnmatch_lines(["SKIPPED*hardware: no Windows here"])


def test_an_unknown_part_is_wrong_usage(pytester: pytest.Pytester) -> None:
    """A typo in --require ends the run before any test, naming the parts there are."""
    pytester.makeconftest("pytest_plugins = ['part_markers']")
    result = pytester.runpytest_inprocess("-p", "no:hotplug_harness", "--require", "whine")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*no part is called 'whine'*", "*libvirt, wine, browser, node, postgres, prometheus*"]
    )


def test_a_missing_program_is_named_with_the_command_that_supplies_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without Chromium the skip says so, and how to get it."""
    monkeypatch.setenv("PATH", str(pytester.path))
    pytester.makeconftest("pytest_plugins = ['part_markers']")
    pytester.makeini("[pytest]\nmarkers = browser")
    pytester.makepyfile("import pytest\n@pytest.mark.browser\ndef test_page(): pass")
    result = pytester.runpytest_inprocess("-rs", "-p", "no:hotplug_harness", "-p", "no:cacheprovider")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*chromium (headless Chromium)*./lab test --require browser supplies it"])


def test_a_part_without_a_package_is_named_with_its_place() -> None:
    """No command supplies PowerShell, so the reason says where it may be put."""
    (need,) = POWERSHELL.needs
    absent = POWERSHELL._replace(needs=(need._replace(evidence=("no-pwsh-here",)),))
    assert (
        "this machine lacks no-pwsh-here (PowerShell 7); no package supplies it: "
        "put pwsh on PATH, or into ../shared/tools/powershell beside the clone"
    ) == part_missing(absent)()


def test_evidence_is_any_one_of_the_things_listed(pytester: pytest.Pytester) -> None:
    """A program of another name does as well, and what is found is what was looked for last."""
    program = pytester.path / "google-chrome"
    program.touch(mode=0o755)
    assert [] == part("browser").missing(str(pytester.path))
    assert str(program) == part("browser").needs[0].found(str(pytester.path))


@pytest.mark.parametrize(
    ("name", "skip", "strict", "failed"),
    [
        ("test_it", "not today", "parts", 1),
        ("test_it", "not today", "", 0),
        ("test_it", f"no data at {SHARED}/data", "parts", int(SHARED.is_dir())),
        ("tests/hardware/test_cases", "a case of Windows", "parts", 0),
    ],
)
def test_a_skip_that_no_part_explains_fails_where_it_is_asked_for(
    name: str, skip: str, strict: str, failed: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a test and of a whole file; a missing part, an expected failure and a file that is known to lack more pass."""
    monkeypatch.setenv(VARIABLE, strict)
    pytester.makeconftest(CONFTEST % [])
    for file, text in (
        (
            f"{name}.py",
            f"def test_shy(): pytest.skip({skip!r})\n\n@pytest.mark.xfail\ndef test_bad(): assert False\n",
        ),
        (f"{name}_too.py", "@pytest.mark.wine\ndef test_wine(): pass\n"),
    ):
        place = pytester.path / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"import pytest\n\n{text}")
    result = pytester.runpytest_inprocess("-p", "no:hotplug_harness", "-p", "no:cacheprovider", "-rs")
    result.assert_outcomes(failed=failed, skipped=2 - failed, xfailed=1)
    if failed:
        result.stdout.fnmatch_lines([f"*{VARIABLE}=parts: no part supplies what this lacks*: {skip}*"])


def test_a_file_that_is_skipped_whole_fails_too(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a module that imports what is nowhere installed would never be run."""
    monkeypatch.setenv(VARIABLE, "parts")
    pytester.makeconftest("pytest_plugins = ['part_markers']")
    pytester.makepyfile("import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass\n")
    result = pytester.runpytest_inprocess("-p", "no:hotplug_harness", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{VARIABLE}=parts*no_such_module*"])


def test_what_is_skipped_elsewhere_is_there() -> None:
    """A file that is renamed is not left in the list."""
    assert [] == [name for name in ELSEWHERE if not (Path(__file__).parents[1] / name).is_file()]


@pytest.mark.parametrize("file", FULL_DISKS, ids=lambda file: file.name)
def test_who_mounts_a_disk_needs_root(file: Path) -> None:
    """A test with a small disk, its own or a fixture's, has the marker ``root``: elsewhere it is skipped by it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    mounting = {one.name for one in functions if "small_disk(" in ast.unparse(one)}
    whole = [ast.unparse(one) for one in tree.body if ast.unparse(one).startswith("pytestmark")]
    tests = [
        one
        for one in functions
        if one.name.startswith("test_")
        and (one.name in mounting or mounting & {argument.arg for argument in one.args.args})
    ]
    assert tests
    for one in tests:
        assert any("mark.root" in said for said in [*whole, *map(ast.unparse, one.decorator_list)]), one.name
