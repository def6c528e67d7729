# SPDX-License-Identifier: MIT
"""The plugin's settings and markers, in a pytest of its own that never gets as far as a guest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.run.plan import built_in_plans
from harness.size import Size
from harness.testing.marks import MARKERS
from harness.testing.session import Guests
from harness.testing.settings import SETTINGS, PluginSetting, Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pytest.md"
USAGE = pytest.ExitCode.USAGE_ERROR


def _refused(pytester: pytest.Pytester, *arguments: str) -> str:
    """The words with which a session is refused before anything is collected."""
    result = pytester.runpytest_inprocess(*arguments)
    assert USAGE == result.ret
    return result.stderr.str() + result.stdout.str()


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from whoever runs this suite."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)


def test_command_line_beats_environment_beats_ini(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One precedence for every setting, and the default below all of them."""
    plain = Settings(pytester.parseconfig(), {})
    assert "auto" == plain["accel"]
    pytester.makeini("[pytest]\nhotplug_accel = tcg\nhotplug_guest = host\n")
    ini = Settings(pytester.parseconfig(), {})
    assert ("tcg", "host") == (ini["accel"], ini["guest"])
    environment = Settings(pytester.parseconfig(), {"HOTPLUG_ACCEL": "kvm"})
    assert ("kvm", "host") == (environment["accel"], environment["guest"])
    line = Settings(pytester.parseconfig("--hotplug-accel=auto"), {"HOTPLUG_ACCEL": "kvm"})
    assert "auto" == line["accel"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hotplug-accel=tgc"], ["--hotplug-accel: no accelerator is called 'tgc'", "Did you mean 'tcg'"]),
        (["--hotplug-boot=restor"], ["--hotplug-boot: no way to boot", "Did you mean 'restore'"]),
        (["--hotplug-dump=4 Gb"], ['--hotplug-dump: expected a size like "256 MiB", got', "4 Gb"]),
        (
            ["--hotplug-boot-timeout=soon"],
            ["--hotplug-boot-timeout: expected seconds from 1 to 604800, got 'soon'"],
        ),
        (["--hotplug-driver=nowhere.sys"], ["there is no file or folder 'nowhere.sys'"]),
        (["--hotplug-connect=qemu:///system"], ["the backend is 'qemu'", "--hotplug-backend libvirt"]),
        (
            ["--hotplug-boot=restore", "--hotplug-kd=listen"],
            ["--hotplug-boot=restore and --hotplug-kd=listen cannot be combined", "--hotplug-boot=cold"],
        ),
    ],
)
def test_value_that_cannot_be_is_refused(
    pytester: pytest.Pytester, arguments: list[str], said: list[str]
) -> None:
    """The session ends as wrong usage, and the message says what was meant."""
    text = _refused(pytester, *arguments)
    assert said == [part for part in said if part in text]


def test_message_says_where_it_was_set(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable and an ini key are named as such."""
    monkeypatch.setenv("HOTPLUG_KD", "lissen")
    assert "HOTPLUG_KD in the environment: no use" in _refused(pytester)
    monkeypatch.delenv("HOTPLUG_KD")
    pytester.makeini("[pytest]\nhotplug_kd = lissen\n")
    assert re.search(r"hotplug_kd in \S*tox.ini: no use", _refused(pytester))


def test_path_in_the_ini_file_is_meant_from_there(pytester: pytest.Pytester) -> None:
    """Wherever pytest is started; a program's name is no path."""
    pytester.makeini("[pytest]\nhotplug_driver = ../mine\nhotplug_qemu = qemu-system-x86_64\n")
    settings = Settings(pytester.parseconfig(), {})
    assert (pytester.path / ".." / "mine", "qemu-system-x86_64") == (
        Path(settings["driver"]),
        settings["qemu"],
    )


def test_settings_become_the_options_of_a_run(pytester: pytest.Pytester) -> None:
    """Numbers and sizes are read, a driver's path is absolute, and what is not set has the plugin's default."""
    pytester.mkdir("mine")
    settings = Settings(
        pytester.parseconfig("--hotplug-driver=mine", "--hotplug-dump=1 GiB"),
        {"HOTPLUG_TEST_TIMEOUT": "20", "HOTPLUG_BOOT": "cold"},
    )
    options = settings.options({"guest": "wine", "dump": Size("0 B")})
    assert (str(pytester.path / "mine"), False, "wine") == (options.driver, options.restore, options.guest)
    assert (90.0, 20.0, 60.0) == (options.budget.boot, options.budget.test, options.budget.evidence)
    assert 1 << 30 == settings.options({}).dump
    assert [None, True] == [
        Settings(pytester.parseconfig(), {}).options({}).restore,
        options.budget.test == 20,
    ]


def test_plan_marker_asks_for_the_whole_plan(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """Also that its driver is a Plug and Play driver."""
    text = "import pytest\n\n@pytest.mark.plan('rebalance')\ndef test_it():\n    pass\n"
    item = pytester.getitem(text, "test_it")
    guests = Guests(Settings(item.config, {}), prompts=False)
    assert built_in_plans()["rebalance"] == guests.request(item, "twin", tmp_path).plan


def test_page_lists_every_setting_and_marker() -> None:
    """Each with its three names, and the values that it takes."""
    page = PAGE.read_text()

    def row(setting: PluginSetting) -> str:
        metavar = setting.metavar.replace("|", "\\|")
        return f"| `{setting.option} {metavar}` | `{setting.variable}` | `{setting.key}` |"

    assert [] == [row(setting) for setting in SETTINGS if row(setting) not in page]
    assert [] == [name for name in MARKERS if f"| `{name}" not in page]


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("known_issue(reason='it breaks')", "missing 1 required positional argument: 'url'"),
        ("known_issue('JIRA-12', 'it breaks')", "'JIRA-12' is not a URL"),
        ("known_issue('https://bugs.example/1', ' ')", "the reason is empty"),
        ("guest('twin', cpu=2)", "unexpected keyword argument 'cpu'"),
        ("guest('twin', cpus='2')", "cpus is a whole number, not '2'"),
    ],
)
def test_marker_that_cannot_be_is_refused(pytester: pytest.Pytester, mark: str, said: str) -> None:
    """Before any test runs, with the test's name and the marker's form."""
    pytester.makepyfile(f"import pytest\n\n@pytest.mark.{mark}\ndef test_it():\n    pass\n")
    text = _refused(pytester)
    assert said in text
    assert "test_it: marker" in text


def test_known_issue_excuses_a_real_failure_only(pytester: pytest.Pytester) -> None:
    """A failure becomes an xfail that names the address; a pass stays a pass and the issue is said to seem gone."""
    pytester.makepyfile(
        """
        import pytest

        from harness.errors import MachineFailed

        issue = pytest.mark.known_issue("https://bugs.example/1", "is told twice")

        @issue
        def test_fails():
            assert 1 == 2

        @issue
        def test_passes():
            pass

        @issue
        def test_infrastructure():
            raise MachineFailed("QEMU died")
        """
    )
    result = pytester.runpytest_inprocess("-rx")
    result.assert_outcomes(passed=1, xfailed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "passed: *::test_passes, although an issue is known of it",
            "*is told twice (https://bugs.example/1)*",
        ]
    )
    result.stdout.fnmatch_lines(["XFAIL *test_fails* - is told twice (https://bugs.example/1)"])


def test_hardware_is_left_out_unless_asked_for(pytester: pytest.Pytester) -> None:
    """The marker is the plugin's own, known under --strict-markers, and selected by name only."""
    pytester.makepyfile(
        "import pytest\n\n@pytest.mark.hardware\ndef test_real():\n    pass\n\ndef test_any():\n    pass\n"
    )
    pytester.runpytest_inprocess("--strict-markers").assert_outcomes(passed=1, deselected=1)
    pytester.runpytest_inprocess("--strict-markers", "-m", "hardware").assert_outcomes(passed=1, deselected=1)


def test_suite_without_guests_is_told_nothing(pytester: pytest.Pytester) -> None:
    """No header, no summary."""
    pytester.makepyfile("def test_it():\n    pass\n")
    assert "hotplug" not in re.sub(r"plugins: .*", "", pytester.runpytest_inprocess().stdout.str())
