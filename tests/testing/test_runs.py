# SPDX-License-Identifier: MIT
"""The plugin at work, on the guest that is a process: verdicts, retries, boots that failed, workers, prompts, Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_command import Forked
from twin.running import CACHE, run_here

from harness.deadline import Deadline

pytestmark = pytest.mark.host

HOST = "--hotplug-guest=host"

RunPytest = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def other_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other pytest has the driver that is compiled already, and no Hypothesis, which takes a quarter of its start."""
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(CACHE))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")


def test_header_summary_and_repro(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """The table has each run with its verdict; what does not hold has rules, class, evidence, and a command that works."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.machine(max_processors=3)
        def test_honest(hotplug, guest_name):
            assert guest_name == "host"
            hotplug.add_cpu()

        @pytest.mark.inject_fault("duplicate-start")
        @pytest.mark.plan("veto")
        def test_planted(guest):
            pass
        """
    )
    result = run_pytest(HOST, "--hotplug-runs", "runs", "--strict-markers")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "hotplug: guest host, *",
            "*= hotplug verdicts =*",
            "holds     *::test_honest",
            "violated  *::test_planted",
            "    rules:    SYNC-EXACTLY-TWO*",
            "    class:    contract",
            "    evidence: *runs/*",
            "    again:    harness repro *",
        ]
    )
    run = re.search(r"again: +harness repro (\S+)", result.stdout.str())
    assert run is not None
    again = subprocess.run(
        [sys.executable, "-m", "harness", "repro", run[1], "--runs", "again"],
        capture_output=True, text=True, check=False, cwd=pytester.path,
    )  # fmt: skip
    assert (1, True) == (again.returncode, "SYNC-EXACTLY-TWO" in again.stdout)


def test_the_header_names_the_guests_of_the_tests(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """A test's marker decides, not the default; where no guest runs on QEMU, QEMU is no matter."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.guest("host")
        def test_first(guest): pass

        @pytest.mark.guest("wine")
        def test_second(guest): pass

        def test_third(): pass
        """
    )
    said = run_pytest("--collect-only").stdout.str()
    assert re.findall(r"^hotplug: (.*)", said, re.MULTILINE) == [
        "guest host, made on the spot",
        "guest wine, made on the spot",
    ]


def test_failed_assertion_ends_the_run_with_evidence(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    """What failed in the test is what the evidence says, and the verdict is about what was recorded."""
    pytester.makepyfile("def test_it(hotplug):\n    hotplug.add_cpu()\n    assert 1 == 2, 'not so'\n")
    result = run_pytest(HOST, "--hotplug-runs", "runs")
    result.assert_outcomes(failed=1)
    (index,) = Path(pytester.path, "runs").glob("2*/evidence/index.json")
    assert "not so" in index.read_text()


def test_a_place_without_runs_is_said_in_the_plugins_words(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    """The hint names the plugin's option, and no traceback of the harness is shown."""
    pytester.makepyfile("def test_it(hotplug):\n    hotplug.add_cpu()\n")
    Path(pytester.path, "runs").write_text("")
    result = run_pytest(HOST, "--hotplug-runs", "runs")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*cannot make the run directory*", "*with --hotplug-runs DIR."])
    result.stdout.no_fnmatch_line("*run_directory.py*")


STRUCK = """
import signal

from harness.errors import GuestHang
from harness.run.boot import GuestBoot
from harness.run.run import Run

judge = Run.judge
up = GuestBoot.up


def struck(run):
    Run.judge = judge
    signal.raise_signal(signal.SIGQUIT)
    return judge(run)


def silent(boot, stack):
    up(boot, stack)
    raise GuestHang("no answer")
"""


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        pytest.param("def test_it(hotplug):\n    hotplug.add_cpu()\n    Run.judge = struck\n", "holds", id="end"),
        pytest.param(
            "def test_it(verdict):\n    Run.judge = struck\n    verdict()\n", "holds", id="asked"
        ),
        pytest.param(
            "Run.judge = struck\nGuestBoot.up = silent\n\ndef test_it(guest):\n    pass\n", "unknown", id="boot"
        ),
    ],
)  # fmt: skip
def test_a_signal_between_the_end_and_the_verdict_leaves_a_verdict(
    run_pytest: RunPytest, pytester: pytest.Pytester, test: str, verdict: str
) -> None:
    """The guest has ended and the history is closed: what it says is judged all the same."""
    pytester.makepyfile(STRUCK + "\n" + test)
    result = run_pytest(HOST, "--hotplug-runs", "runs")
    result.stdout.fnmatch_lines(["!!!*interrupted by SIGQUIT*"])
    (found,) = Path(pytester.path, "runs").glob("2*/verdict.json")
    assert verdict == json.loads(found.read_text())["verdict"]


def test_infrastructure_failure_is_tried_once_more(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """The monitor is lost in the first attempt; the second counts, and both keep their evidence."""
    pytester.makepyfile(
        """
        from pathlib import Path

        from harness.errors import MonitorLost

        def test_it(hotplug):
            if not Path("lost").exists():
                Path("lost").touch()
                raise MonitorLost("the connection is gone")
            hotplug.add_cpu()
        """
    )
    result = run_pytest(HOST, "--hotplug-runs", "runs")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["unknown   *::test_it", "    class:    infrastructure*", "holds     *::test_it (attempt 2)"]
    )
    assert 2 == len(list(Path(pytester.path, "runs").glob("2*/run.json")))


@pytest.mark.qemu
def test_boot_that_failed_is_not_tried_again(
    run_pytest: RunPytest, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    """After two attempts the guest is given up: later tests of it are skipped with the cause, others run."""
    broken = tmp_path / "qemu-system-x86_64"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && echo QEMU emulator version 8.0.0 && exit\nexit 7\n")
    broken.chmod(0o755)
    pytester.makepyfile(
        """
        def test_first(guest):
            pass

        def test_second(guest):
            pass

        def test_other():
            pass
        """
    )
    result = run_pytest("--hotplug-boot=cold", f"--hotplug-qemu={broken}", "-rs")
    result.assert_outcomes(passed=1, errors=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *twin did not boot before *stage *"])


def test_workers_share_one_summary(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """Under pytest-xdist the rows come from the workers, once each."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(hotplug, number):
            hotplug.add_cpu()
        """
    )
    result = run_pytest(HOST, "-n", "2")
    result.assert_outcomes(passed=2)
    rows = [line for line in result.stdout.lines if line.startswith("holds ")]
    assert ["test_it[1]", "test_it[2]"] == [line.rpartition("::")[2] for line in rows]


def test_exit_first_and_last_failed(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """-x stops after the first failure, --lf runs only what failed."""
    pytester.makepyfile("def test_a(guest):\n    assert 0\n\ndef test_b(guest):\n    pass\n")
    run_pytest(HOST, "-x").assert_outcomes(failed=1)
    result = run_pytest(HOST, "--lf")
    result.assert_outcomes(failed=1, deselected=0)
    assert "test_b" not in result.stdout.str()


def test_prompt_keeps_the_guest_and_says_how_to_attach(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    """With --pdb the guest answers while the prompt is open, and is gone afterwards."""
    pytester.makepyfile("def test_it(hotplug, run_under_test):\n    hotplug.add_cpu()\n    assert 1 == 2\n")
    typed = "run_under_test.live.machine.alive()\np 'pid', run_under_test.live.machine._process.pid\nquit\n"
    before, after = run_pytest(HOST, "--pdb", typed=typed).stdout.str().split("(Pdb)", 1)
    assert re.search(r"^history +harness show --all", before, re.MULTILINE)
    assert "True" in after
    pid = re.search(r"'pid', (\d+)", after)
    assert pid is not None
    assert not Path(f"/proc/{pid[1]}").exists()


def test_a_session_at_pdb(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """The command ``repro`` of pdb leads to a session on the test's guest, with what the test did as done."""
    pytester.makepyfile("def test_it(hotplug):\n    hotplug.add_cpu()\n    assert 1 == 2\n")
    said = run_pytest(HOST, "--pdb", typed="repro\nplan\nadd-dimm 128MiB\nrestore here\n").stdout.str()
    assert "Type 'repro' for a session on the guest" in said
    assert "1. add-cpu" in said
    assert "memory arrival" in said
    assert "the guest belongs to a test, and cannot be restarted here" in said


def test_a_violation_is_held_before_its_guest_ends(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    """With --pdb the session comes when the verdict would be asked for, the guest alive; the test then fails as it would.

    What is saved ends with the operation that broke the rule.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.inject_fault("complete-before-start")
        def test_it(hotplug, verdict):
            hotplug.add_cpu()
            assert verdict().verdict == "holds"
        """
    )
    said = run_pytest(
        HOST, "--pdb", typed="check\nadd-cpu\nsave test_kept.py\nquit\nrepro\nquit\n"
    ).stdout.str()
    # It says why it begins, and what is no longer possible after it.
    assert "VIOLATED so far: SYNC-BARRIER   (explain SYNC-BARRIER)" in said.partition("> check")[0]
    assert "No guest is alive here: the test's run has ended" in said
    assert "NameError" not in said
    assert "VIOLATED so far: NO-RUN-BEFORE-START-DONE, SYNC-BARRIER, SYNC-START-BEFORE-COMPLETE" in said
    assert "Complete NtNumber=3" in said
    assert "assert <Verdict.VIOLATED" in said
    assert "was broken by operation 1; the 1 after it are left out." in said
    assert (pytester.path / "test_kept.py").read_text().count("hotplug.add_cpu()") == 1


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 2), (signal.SIGHUP, 129), (signal.SIGQUIT, 131), (signal.SIGTERM, 143)],
)
def test_interruption_ends_the_guest_and_judges(
    start_pytest: Callable[..., Forked], pytester: pytest.Pytester, number: signal.Signals, code: int
) -> None:
    """After any signal that ends a command no process is left, and the history ends as interrupted and is judged."""
    pytester.makepyfile(
        """
        import threading

        def test_it(hotplug, run_under_test):
            hotplug.add_cpu()
            print(f"pid {run_under_test.live.machine._process.pid}", flush=True)
            threading.Event().wait()
        """
    )
    process = start_pytest(HOST, "-s", "--hotplug-runs", "runs")

    def told() -> re.Match[str] | None:
        assert process.poll() is None, process.written()
        return re.search(r"pid (\d+)\n", process.written()[0].decode())

    pid = Deadline(60, "the test").poll(told)
    process.send_signal(number)
    rest = process.communicate(60)[0].decode()
    assert code == process.returncode
    Deadline(10, "the process").poll(lambda: not Path(f"/proc/{pid[1]}").exists())
    (history,) = Path(pytester.path, "runs").glob("2*/history.jsonl")
    assert '"outcome":"interrupted"' in history.read_text().splitlines()[-1]
    assert (history.parent / "verdict.json").is_file()
    assert f"interrupted by {number.name}" in rest


LATE = """
    import threading

    import pytest

    @pytest.mark.timeout(2, func_only=True)
    def test_it(hotplug, run_under_test):
        hotplug.add_cpu()
        print(f"pid {run_under_test.live.machine._process.pid}", flush=True)
        threading.Event().wait()

    def test_other():
        pass
"""


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout_ends_the_guest_and_judges(
    run_pytest: RunPytest, pytester: pytest.Pytester, method: str
) -> None:
    """Whatever pytest-timeout would do: the run says why it ended, is judged with its evidence, and the session goes on."""
    pytester.makepyfile(LATE)
    result = run_pytest(HOST, "-s", "--hotplug-runs", "runs", "--timeout-method", method)
    result.assert_outcomes(failed=1, passed=1)
    said = result.stdout.str()
    pid = re.search(r"pid (\d+)", said)
    assert pid is not None
    assert not Path(f"/proc/{pid[1]}").exists()
    result.stdout.fnmatch_lines(
        ["*~ Stack of *", "*Timeout (>2.0s) from pytest-timeout.*", "unknown   *::test_it"]
    )
    (history,) = Path(pytester.path, "runs").glob("2*/history.jsonl")
    assert '"outcome":"failed"' in history.read_text().splitlines()[-1]
    assert "the time for the test, 2 s, was over (pytest-timeout)" in history.read_text()
    assert (history.parent / "verdict.json").is_file()
    assert (history.parent / "evidence" / "index.json").is_file()


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout_while_the_guest_starts(
    run_pytest: RunPytest, pytester: pytest.Pytester, method: str
) -> None:
    """The run that was being made is judged all the same."""
    pytester.makeconftest(
        """
        import threading

        from harness.guest.process import host

        host.HostType.prepare = lambda *_: threading.Event().wait()
        """
    )
    pytester.makepyfile("def test_it(guest):\n    pass\n")
    timeout = ("--timeout", "2", "--timeout-method", method)
    result = run_pytest(HOST, "--hotplug-runs", "runs", *timeout)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Timeout (>2.0s) from pytest-timeout.*", "unknown   *::test_it"])
    (run,) = Path(pytester.path, "runs").glob("2*")
    assert '"stage":"image"' in (run / "history.jsonl").read_text()
    assert (run / "verdict.json").is_file()


def test_timeout_of_a_test_that_does_not_end(
    run_pytest: RunPytest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The method ``thread`` leaves the process after the grace, with 1; ``harness gc`` finds what was left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(pytester.path))
    pytester.makeconftest("from harness.testing import timer\n\ntimer.GRACE = 1.0\n")
    pytester.makepyfile(
        """
        import signal
        import threading

        import pytest

        @pytest.mark.timeout(2, func_only=True)
        def test_it(guest):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGVTALRM])
            threading.Event().wait()
        """
    )
    timeout = ("--timeout-method", "thread", "--hotplug-evidence-timeout", "1")
    result = run_pytest(HOST, "--hotplug-runs", "runs", *timeout)
    assert 1 == result.ret
    result.stdout.fnmatch_lines(["*~ Stack of MainThread *"])
    entries = list((pytester.path / "state").rglob("*.json"))
    assert len(entries) == 1
    code, _out, err = run_here("gc", "--yes")
    assert (0, []) == (code, list((pytester.path / "state").rglob("*.json"))), err
    (run,) = Path(pytester.path, "runs").glob("2*")
    code, out, _err = run_here("check", str(run))
    assert 3 == code
    assert "the run was killed" in out
