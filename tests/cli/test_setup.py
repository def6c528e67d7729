# SPDX-License-Identifier: MIT
"""harness setup: what it names, what it installs, and that it installs nothing unasked."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import ExitCode
from harness.setup import debian, lease_directory

Caught = pytest.CaptureFixture[str]

NTFS = {"ntfs-3g": "ntfscat", "fuse3": "fusermount3"}
"""The packages of a part, each with a program of it."""


def script(path: Path, body: str) -> None:
    """Write a shell script that stands for a program."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose apt-get "installs" the programs of the part, and whose sudo does what it is told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    made = "; ".join(
        f"echo '#!/bin/sh' > {programs}/{name}; chmod 755 {programs}/{name}" for name in NTFS.values()
    )
    script(programs / "apt-get", f'echo "$@" >> {tmp_path}/asked; PATH=/usr/bin:/bin; {made}')
    script(programs / "sudo", '[ "$1" = -n ] && shift; [ "$1" = true ] || exec "$@"')
    (programs / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOTPLUG_HARNESS_LEASES", str(tmp_path / "leases"))
    return tmp_path


def test_what_is_missing_is_named_in_one_line_and_nothing_is_installed(host: Path) -> None:
    """With nobody to ask it ends with 69 after naming the command."""
    code = subprocess.run(
        [sys.executable, "-m", "harness", "setup", "ntfs"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert 69 == code.returncode
    assert "\nsudo apt-get install --no-install-recommends ntfs-3g fuse3\n" in code.stdout
    assert "harness setup ntfs --yes" in code.stdout
    assert not (host / "asked").exists()


def test_yes_installs_exactly_that(host: Path, capsys: Caught) -> None:
    """apt-get gets the packages and no others, and the second time there is nothing left to do."""
    codes = [main(["setup", "ntfs", "--yes"]), main(["setup", "ntfs"])]
    (asked,) = (host / "asked").read_text().splitlines()
    assert asked.endswith("install --yes --no-install-recommends --no-remove ntfs-3g fuse3")
    assert [ExitCode.HOLDS, ExitCode.HOLDS] == codes
    assert 2 == capsys.readouterr().out.count("Nothing is missing for ntfs.")


def test_a_package_without_its_program_is_named(host: Path, capsys: Caught) -> None:
    """An installation that supplied nothing is infrastructure, with the command that repairs it."""
    script(host / "bin" / "apt-get", "exit 0")
    code = main(["setup", "ntfs", "--yes"])
    assert ExitCode.INFRASTRUCTURE == code
    assert "apt-get install --reinstall ntfs-3g" in capsys.readouterr().err


def test_apt_that_fails_is_quoted(host: Path, capsys: Caught) -> None:
    """apt-get's own words are shown with the command to try by hand."""
    script(host / "bin" / "apt-get", "echo 'E: No space left on device'; exit 100")
    code = main(["setup", "ntfs", "--yes"])
    said = capsys.readouterr().err
    assert [ExitCode.INFRASTRUCTURE, True, True] == [
        code,
        "No space left on device" in said,
        "The disk is full" in said,
    ]


def test_another_distribution_is_told_what_to_look_for(
    host: Path, monkeypatch: pytest.MonkeyPatch, capsys: Caught
) -> None:
    """Without apt-get nobody is asked; the packages that hold what is missing are named."""
    (host / "bin" / "apt-get").unlink()
    monkeypatch.setattr(os, "defpath", str(host / "bin"))
    code = main(["setup", "ntfs", "--yes"])
    said = capsys.readouterr().out
    assert [ExitCode.INFRASTRUCTURE, True] == [
        code,
        "with this system's own package manager, what Debian has in ntfs-3g, fuse3" in said,
    ]


def test_a_part_that_does_not_exist_is_guessed(capsys: Caught) -> None:
    """A mistyped part is wrong usage, with the one that was meant."""
    code = main(["setup", "libvrt"])
    assert [ExitCode.USAGE, True] == [code, "Did you mean 'libvirt'?" in capsys.readouterr().err]


@pytest.mark.parametrize(("answer", "installed"), [("y", True), ("n", False)])
def test_a_terminal_is_asked(host: Path, answer: str, installed: bool) -> None:
    """On a terminal the answer decides."""
    leader, follower = os.openpty()
    try:
        os.write(leader, f"{answer}\n".encode())
        ended = subprocess.run(
            [sys.executable, "-m", "harness", "setup", "ntfs"], stdin=follower, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(leader)
        os.close(follower)
    assert [0 if installed else 69, installed] == [ended.returncode, (host / "asked").exists()], ended.stderr


SHARED = "/var/lib/hotplug-harness/leases"

MAKE = f"""
mount -t tmpfs tmpfs /var/lib || exit 77
"$1" -m harness setup ntfs && echo "$?" && ls {SHARED}
"$1" -m harness setup ntfs --yes || exit
"$1" -m harness setup ntfs --yes || exit
stat -c '%U %G %a' {SHARED} "$(dirname {SHARED})"
"$1" -m harness ps
"""


@pytest.mark.root
def test_the_directory_of_leases_is_made_when_asked_for(host: Path) -> None:
    """Named and not made without an answer; root's with the right modes whatever the umask; then it is the one that counts."""
    for name in NTFS.values():
        script(host / "bin" / name, "exit 0")
    environment = {name: value for name, value in os.environ.items() if name != "HOTPLUG_HARNESS_LEASES"}
    environment |= {"PATH": f"{host / 'bin'}:/usr/bin:/bin", "XDG_STATE_HOME": str(host)}
    ended = subprocess.run(
        ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", MAKE, "sh", sys.executable], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, env=environment, umask=0o077, check=False,
    )  # fmt: skip
    before, _, after = ended.stdout.partition("\n0\n")
    assert f"No {SHARED}: only your own machines are counted." in before
    assert f"sudo install -d -o root -g root -m 1777 {SHARED}" in before
    assert f"ls: cannot access '{SHARED}'" in ended.stderr
    assert f"made {SHARED}, where the machines of all users are counted" in ended.stderr
    assert 1 == after.count("only your own machines are counted")
    assert "root root 1777\nroot root 755\n" in after
    assert "Leases of this host: 0 of " in after


def test_who_cannot_become_root_is_told_who_can(
    host: Path, monkeypatch: pytest.MonkeyPatch, capsys: Caught
) -> None:
    """The directory of leases is nothing that a part lacks: the command is named, and the exit code stays 0."""
    for name in NTFS.values():
        script(host / "bin" / name, "exit 0")
    script(host / "bin" / "sudo", "exit 1")
    monkeypatch.delenv("HOTPLUG_HARNESS_LEASES")
    monkeypatch.setattr(lease_directory, "SHARED", host / "none" / "leases")
    monkeypatch.setattr(debian, "SHARED", host / "none" / "leases")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert ExitCode.HOLDS == main(["setup", "ntfs", "--yes"])
    said = capsys.readouterr().err
    assert "a directory is missing and sudo wants a password, with no terminal to ask on" in said
    assert "Ask an administrator to run: sudo install -d" in said
