# SPDX-License-Identifier: MIT
"""Packages: small scripts stand for dpkg-query, apt-get and sudo, so that every way they fail can be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart
from harness.setup.debian import Distribution, Installer, not_installed


class Stand:
    """A directory of scripts that stand for the package manager; apt-get keeps what it was asked in ``asked``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {"PATH": f"{directory}:/usr/bin:/bin"}
        self.log = directory / "log"
        self.said: list[str] = []

    def script(self, name: str, body: str) -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\ncd {self.directory}\n{body}\n")
        path.chmod(0o755)

    def apt(self, body: str) -> None:
        """``body`` sees the command, install or update, in $command."""
        self.script(
            "apt-get",
            'for command; do case $command in install|update) break;; esac; done; echo "$@" >> asked\n'
            + body,
        )

    def install(self, *packages: str, seconds: float = 20, booted: str = "none") -> None:
        installer = Installer(self.environment, self.log, self.said.append, booted=self.directory / booted)
        installer.install(packages, Deadline(seconds, "the test"))

    def asked(self) -> list[str]:
        """What apt-get was asked, without the options that are the same each time."""
        lines = (self.directory / "asked").read_text().splitlines()
        return [line.split("Dpkg::Use-Pty=0 ")[1] for line in lines]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


INSTALL = "install --yes --no-install-recommends --no-remove"


@pytest.mark.parametrize(
    ("text", "name", "meant_for"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n', "Debian GNU/Linux 12 (bookworm)", True),
        ('PRETTY_NAME="Ubuntu 24.04.3 LTS"\nVERSION_ID="24.04"\nID=ubuntu\n', "Ubuntu 24.04.3 LTS", True),
        ("ID=debian\nVERSION_ID='11'\n", "debian 11", False),
        ('ID="fedora"\nVERSION_ID=42\n', "fedora 42", False),
        ("# nothing of use\n", "unknown", False),
    ],
)  # fmt: skip
def test_os_release_tells_the_distribution(tmp_path: Path, text: str, name: str, meant_for: bool) -> None:
    """Quoted or not, with a pretty name or without."""
    (tmp_path / "os-release").write_text(text)
    distribution = Distribution(tmp_path / "os-release")
    assert (name, meant_for) == (distribution.name, distribution.meant_for)


@given(st.binary(max_size=200))
def test_any_os_release_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Garbage makes an unknown distribution, never an error."""
    path = tmp_path_factory.getbasetemp() / "os-release"
    path.write_bytes(content)
    assert isinstance(Distribution(path).meant_for, bool)


def test_only_a_fully_installed_package_counts(stand: Stand) -> None:
    """Removed with its settings left, half-installed and unknown packages are missing, and each is named once."""
    stand.script("dpkg-query", "echo gcc installed; echo make config-files; echo ovmf half-installed; exit 1")
    wanted = ["ovmf", "gcc", "make", "ovmf", "unheard-of"]
    assert ["ovmf", "make", "unheard-of"] == not_installed(wanted, stand.environment)


def test_without_dpkg_the_question_is_refused(tmp_path: Path) -> None:
    """A machine that has no dpkg-query is told apart from one that lacks packages."""
    with pytest.raises(MissingPart, match="dpkg-query"):
        not_installed(["gcc"], {"PATH": str(tmp_path)})


@pytest.mark.root
def test_a_working_archive_is_asked_once(stand: Stand) -> None:
    """With package lists in place there is no update, and exactly the missing packages are asked for."""
    stand.apt("exit 0")
    stand.install("gcc", "make")
    assert [f"{INSTALL} gcc make"] == stand.asked()


@pytest.mark.root
@pytest.mark.parametrize(
    "complaint",
    [
        "E: Unable to locate package gcc",
        "E: Failed to fetch http://archive/gcc.deb  404  Not Found",
        # Recorded on Debian 12, where installed libraries came from a point release that the lists did not know.
        (
            " libarchive-tools : Depends: libarchive13 (= 3.6.2-1+deb12u4) but 3.6.2-1+deb12u5 is to be installed\n"
            "E: Unable to correct problems, you have held broken packages."
        ),
    ],
)
def test_missing_or_old_package_lists_are_updated(stand: Stand, complaint: str) -> None:
    """An install that fails for want of fresh lists is tried once more after apt-get update."""
    stand.apt(f'[ $command = update ] && touch fresh; [ -e fresh ] || {{ echo "{complaint}"; exit 100; }}')
    stand.install("gcc")
    assert [f"{INSTALL} gcc", "update", f"{INSTALL} gcc"] == stand.asked()


@pytest.mark.root
def test_a_service_that_nobody_uses_is_stopped(stand: Stand) -> None:
    """Only that of a package which was missing: a munge that was there before belongs to the machine."""
    stand.apt("exit 0")
    stand.script("systemctl", 'echo "$@" >> stopped')
    (stand.directory / "systemd").mkdir()
    stand.install("gcc", booted="systemd")
    stand.install("slurmd", "slurm-client")
    assert not (stand.directory / "stopped").exists()
    stand.install("slurmd", "slurm-client", booted="systemd")
    assert "disable --now slurmd\n" == (stand.directory / "stopped").read_text()


@pytest.mark.root
def test_a_service_that_cannot_be_stopped_is_reported(stand: Stand) -> None:
    """The packages are installed all the same."""
    stand.apt("exit 0")
    stand.script("systemctl", "echo 'Failed to disable unit: Access denied'; exit 1")
    (stand.directory / "systemd").mkdir()
    stand.install("munge", booted="systemd")
    *_, last = stand.said
    assert "the services munge are not stopped" in last
    assert "Access denied" in last
    assert "By hand: sudo systemctl disable --now munge" in last


@pytest.mark.root
def test_a_lock_is_waited_for(stand: Stand) -> None:
    """While another package manager holds the lock the install is repeated, and the user is told once."""
    locked = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)"
    stand.apt(f'[ $(wc -l < asked) -ge 2 ] || {{ echo "{locked}"; exit 100; }}')
    stand.install("gcc")
    assert [f"{INSTALL} gcc"] * 2 == stand.asked()
    assert ["waiting for another package manager to finish"] == stand.said[1:]


@pytest.mark.root
def test_a_lock_is_not_waited_for_for_ever(stand: Stand) -> None:
    """At the deadline the message shows who holds the lock."""
    stand.apt('echo "E: Could not get lock /var/lib/dpkg/lock. It is held by process 1 (dpkg)"; exit 100')
    with pytest.raises(InfrastructureError, match=r"(?s)held its lock for 0\.5 s.*process 1"):
        stand.install("gcc", seconds=0.5)


@pytest.mark.root
@pytest.mark.parametrize(
    ("complaint", "hint"),
    [
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "The disk is full"),
        (
            "E: Failed to fetch http://archive/Packages  Temporary failure resolving",
            "archive cannot be reached",
        ),
        ("E: dpkg was interrupted, you must manually run", "sudo dpkg --configure -a"),
        ("E: Unable to locate package gcc", "add-apt-repository universe"),
        ("E: Something nobody thought of", "Install them by hand"),
    ],
)
def test_a_failed_install_says_what_to_do(stand: Stand, complaint: str, hint: str) -> None:
    """The message names the packages and apt's own last words; the hint has the way out and the command."""
    stand.apt(f'[ $command = update ] || {{ echo "{complaint}"; exit 100; }}')
    with pytest.raises(MissingPart) as caught:
        stand.install("gcc", "make")
    assert "apt-get (exit status 100) could not install: gcc make" in caught.value.message
    assert complaint in caught.value.message
    assert hint in caught.value.hint
    assert "sudo apt-get install --no-install-recommends gcc make" in caught.value.hint


@pytest.mark.root
def test_an_archive_that_cannot_be_updated_is_said_so(stand: Stand) -> None:
    """When apt-get update itself fails its words are the ones shown."""
    stand.apt(
        '[ $command = update ] && echo "W: Some index files failed to download" || echo "E: Unable to locate package gcc"; exit 100'
    )
    with pytest.raises(MissingPart, match="Some index files failed") as caught:
        stand.install("gcc")
    assert "archive cannot be reached" in caught.value.hint


def test_without_apt_the_packages_are_listed(tmp_path: Path) -> None:
    """dpkg without apt-get: nothing can be installed, and everything that is missing is named."""
    installer = Installer({"PATH": str(tmp_path)}, tmp_path / "log", lambda text: None)
    with pytest.raises(MissingPart, match="there is no apt-get to install them: gcc make"):
        installer.install(["gcc", "make"], Deadline(5, "the test"))
