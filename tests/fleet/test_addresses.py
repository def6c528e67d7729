# SPDX-License-Identifier: MIT
"""Addresses of schedulers and exchanges: what is refused, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.documents import ListedHost
from harness.cli.fleet import _lines
from harness.cli.main import main
from harness.errors import UsageError
from harness.fleet.engine import check_address
from harness.fleet.order import NightlyNote, PlacedCell, WaitingCell
from harness.fleet.results_place import check_results
from harness.fleet.tls import tls_files
from harness.report.escape import printable


@pytest.mark.parametrize("url", ["tcp://192.0.2.1:8786", "tcp://lab1.example.org:8786"])
def test_no_scheduler_off_this_host_without_tls(url: str) -> None:
    """It would run programs for whoever reaches it."""
    with pytest.raises(UsageError, match="without TLS a scheduler can be used on this host only"):
        check_address(url, None)


@pytest.mark.parametrize("url", ["tcp://0.0.0.0:8786", "tcp://[::]:8786"])
def test_an_address_of_all_interfaces_is_not_another_host(url: str) -> None:
    """It is this host's, and open for all others (ip(7): INADDR_ANY)."""
    with pytest.raises(UsageError, match="is every address of this host, for all hosts"):
        check_address(url, None)


def test_tls_needs_certificates() -> None:
    """The message says where they are named, and what makes them."""
    with pytest.raises(UsageError, match="own certificates") as caught:
        check_address("tls://lab1.example.org:8786", None)
    assert "fleet certificates" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    ["", "lab1", "http://127.0.0.1:80", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://:1", "tcp://[::1"],
)
def test_what_is_not_an_address(url: str) -> None:
    """Each is refused with an example."""
    with pytest.raises(UsageError) as caught:
        check_address(url, None)
    assert "tls://lab1.example.org:8786" in caught.value.hint


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:8786"])
def test_this_host_alone_needs_no_tls(url: str) -> None:
    """Its users are trusted as the host is."""
    assert url == check_address(url, None)


def test_no_password_in_an_address() -> None:
    """Neither of a scheduler nor of an exchange; the message does not repeat it."""
    for check in (
        lambda: check_address("tcp://u:secret@127.0.0.1:1", None),
        lambda: check_results("sftp://u:secret@nas/x"),
    ):
        with pytest.raises(UsageError, match="password") as caught:
            check()
        assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def test_all_three_files_of_tls_are_needed(tmp_path: Path) -> None:
    """The absent ones are named, and a file that cannot be read too."""
    with pytest.raises(UsageError, match="cert and key is not given"):
        tls_files("ca.pem", "", "")
    with pytest.raises(UsageError, match="No such file"):
        tls_files(tmp_path / "a", tmp_path / "b", tmp_path / "c")


def test_a_relative_exchange_is_refused() -> None:
    """Each host would put it elsewhere."""
    with pytest.raises(UsageError, match="absolute path"):
        check_results("results")


def test_results_are_needed_off_this_host(tmp_path: Path) -> None:
    """Before anything is connected."""
    (tmp_path / "pem").touch()
    (tmp_path / "lab.toml").write_text(
        '[fleet]\nscheduler = "tls://192.0.2.1:1"\nca = "pem"\ncert = "pem"\nkey = "pem"\n[[plan]]\nplan = "veto"\n'
    )
    assert 64 == main(
        ["nightly", "--once", "--lab", str(tmp_path / "lab.toml"), "--into", str(tmp_path / "n")]
    )
    assert not (tmp_path / "n").exists()


def test_the_summary_has_the_exit_code_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exchange whose name does not resolve (RFC 6761, section 6.4) ends the nightly run before its first run."""
    monkeypatch.chdir(tmp_path)
    Path("lab.toml").write_text(
        '[fleet]\nscheduler = "tcp://127.0.0.1:1"\nresults = "sftp://lab1.invalid/srv/lab-results"\n'
        '[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n'
    )
    assert 69 == main(["nightly", "--once", "--name", "n"])
    said = capsys.readouterr().out
    assert "0 of 1 runs, 0.0 minutes of runs; exit code 69" in said
    assert "1 run is left; the same command continues with it." in said
    assert 69 == json.loads(Path("nightly/n/summary.json").read_text())["exit_code"]


def test_a_host_has_one_name_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of ``drain``: an instance stands beside it. A usual line fits 80 columns; what is longer is folded between words."""
    monkeypatch.setattr("harness.report.style.is_terminal", lambda _: True)
    host: ListedHost = {
        "host": "three", "instance": "3", "address": "tcp://127.0.0.1:1", "drained": False, "vcpus": 2, "memory": 32512 << 20,
        "harness": "1", "engine": "1", "offers": ["engine=1", "harness=1", "kvm", "qemu=7.2.22"], "attempts": ["a", "b"],
        "unheard": 0.4,
    }  # fmt: skip
    long: ListedHost = {
        **host,
        "host": "two",
        "instance": "",
        "offers": [f"template=windows-{n}" for n in range(5)],
    }
    lines = _lines({"scheduler": "tcp://127.0.0.1:1", "hosts": [host, long], "nightlies": []})
    assert "three 2 under way 2 processors 31.8 GiB instance 3, kvm, qemu 7.2.22" == " ".join(
        lines[1].split()
    )
    assert all(len(line) <= 80 for line in lines)
    assert "two" == lines[2].split()[0]
    assert " ".join(" ".join(lines[2:]).split()).endswith(", template windows-4")


def test_hostile_names_break_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a worker or a nightly run is called, nothing raw is shown and each line fits 80 columns."""
    monkeypatch.setattr("harness.report.style.is_terminal", lambda _: True)
    for name in ("\x1b[31mred\x1b]0;title\x07\r\nnext\u202e\x9b2J" * 3, "n" * 400, ""):
        host: ListedHost = {
            "host": name, "instance": name, "address": name, "drained": False, "vcpus": 2, "memory": 1 << 30, "harness": "1",
            "engine": "1", "offers": [name], "attempts": [], "unheard": 99.0,
        }  # fmt: skip
        note = NightlyNote(
            name=name, lab=name, host=name, left=1, under_way=[PlacedCell(name, name, "sent")],
            waiting=[WaitingCell(name, name)], aside={name: name}, time=0.0,
        )  # fmt: skip
        for line in _lines({"scheduler": "tcp://127.0.0.1:1", "hosts": [host], "nightlies": [note]}):
            assert (printable(line, 1000), len(line) <= 80) == (line, True)


def test_nothing_of_the_engine_is_imported_without_a_scheduler() -> None:
    """Neither by a nightly run's plan nor by the help."""
    program = (
        "import gc, sys; gc.disable(); from harness.cli.main import main\n"
        "import harness.fleet.nightly, harness.fleet.worker, harness.fleet.scheduler, harness.fleet.results_place\n"
        "main(['nightly', '--dry-run']); main(['worker', '--help'])\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('distributed', 'dask', 'fsspec', 'tornado')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "[]" == done.stdout.splitlines()[-1]
