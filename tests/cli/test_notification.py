# SPDX-License-Identifier: MIT
"""The end of a nightly run: in the store, in ten lines, and told to a command, whatever fails of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.cli.notification import FORMS
from harness.store.address import VARIABLE

WRONG = 'name = "wrong-count"\n[[do]]\nop = "add-cpu"\n[[do]]\nop = "expect"\nstarts = 7\n'


def lab(folder: Path, guest: str) -> Path:
    """Write a lab whose plan holds, and whose other plan is broken the same way in each of its two repetitions."""
    (folder / "wrong.toml").write_text(WRONG)
    file = folder / "lab.toml"
    file.write_text(
        ("restore = true\n" if guest == "twin" else "")
        + f'repeat = 2\nparallel = 2\n[[guest]]\nname = "{guest}"\n[[plan]]\nplan = "veto"\n[[plan]]\nplan = "./wrong.toml"\n'
        + ('[[qemu]]\nname = "default"\n' if guest == "twin" else "")
    )
    return file


@pytest.mark.parametrize(
    "guest", [pytest.param("host", marks=pytest.mark.host), pytest.param("twin", marks=pytest.mark.qemu)]
)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_one_failure_is_one_incident_and_one_line(
    guest: str,
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On both databases: the violated runs are one incident, one line of the summary, and what --notify gets with --notify-as."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if kind == "postgresql":
        monkeypatch.setenv(VARIABLE, request.getfixturevalue("postgres_server").database())
    file, told, into = lab(tmp_path, guest), tmp_path / "told", tmp_path / "kept"
    words = ["nightly", "--once", "--lab", str(file), "--into", str(into), "--name", "n"]
    assert 1 == main([*words, "--notify", f"tee '{told}'", "--notify-as", "markdown", "--json"])
    capsys.readouterr()
    assert 0 == main(["history", "new", "--into", str(into), "--lab", str(file), "--json"])
    document = json.loads(capsys.readouterr().out)
    (incident,) = document["new"]
    summary = (into / "n" / "morning.txt").read_text()
    assert ("EXPECT", 2, {"holds": 2, "violated": 2}, 1, True) == (
        incident["rule"], incident["runs"], document["night"]["counts"], summary.count("EXPECT"), len(summary.splitlines()) <= 10,
    )  # fmt: skip
    assert told.read_bytes() == (into / "n" / "morning.md").read_bytes()
    assert (into / "results.sqlite").exists() == (kind == "sqlite")


@pytest.mark.host
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("false", "--notify: 'false' failed: exit status 1"),
        ("/nonexistent/mailer -s x", "/nonexistent/mailer"),
        ("sh -c 'echo no route >&2; exit 9'", "no route"),
    ],
)
def test_a_notification_that_fails_changes_no_exit_code(
    command: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said on standard error; the nightly run's code is that of its runs."""
    file = tmp_path / "lab.toml"
    file.write_text('[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n')
    code = main(
        ["nightly", "--once", "--lab", str(file), "--into", str(tmp_path / "kept"), "--notify", command]
    )
    assert (0, True) == (code, said in capsys.readouterr().err)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("nosuch-mailer -s x", True),
        ("./to-chat", True),
        ("true", False),
        ("", False),
    ],
)
def test_a_program_that_is_not_there_is_said_before_anything_runs(
    command: str,
    missing: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A night is worth more than its mail: it is a message, not a refusal, and --dry-run has it too."""
    monkeypatch.chdir(tmp_path)
    Path("lab.toml").write_text('[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n')
    assert 0 == main(["nightly", "--dry-run", "--notify", command])
    program = command.partition(" ")[0]
    said = f"harness: --notify: there is no program '{program}' yet\n"
    assert missing is capsys.readouterr().err.startswith(said)


@pytest.mark.host
def test_a_store_that_is_not_there_changes_no_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nightly run goes on, says what loads it later, and has its summary in files; later it is loaded."""
    monkeypatch.setenv(VARIABLE, f"postgresql://lab@/lab?host={tmp_path}")
    file = tmp_path / "lab.toml"
    file.write_text('[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n')
    into = tmp_path / "kept"
    code = main(["nightly", "--once", "--lab", str(file), "--into", str(into), "--name", "n"])
    error = capsys.readouterr().err
    monkeypatch.delenv(VARIABLE)
    later = main(["store", "load", "--into", str(into)])
    assert (0, True, True, 0, True) == (
        code, f"harness store load {into / 'n'}" in error, "1 of 1 runs" in (into / "n" / "morning.txt").read_text(), later,
        "1 runs are new" in capsys.readouterr().out,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--notify", "mail -s 'x"], "is not a command"),
        (["--notify", "true", "--notify-as", "markdwon"], "Did you mean 'markdown'?"),
        (["--metrics", "nightly.txt"], "'nightly.txt' does not end in .prom"),
    ],
)
def test_a_wrong_notification_is_refused_before_anything_runs(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, not in the morning."""
    file = tmp_path / "lab.toml"
    file.write_text('[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n')
    code = main(["nightly", "--once", "--lab", str(file), "--into", str(tmp_path / "kept"), *options])
    assert (64, True, False) == (code, said in capsys.readouterr().err, (tmp_path / "kept").exists())
    assert "text" in FORMS
