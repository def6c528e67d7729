# SPDX-License-Identifier: MIT
"""A root: a minimal Debian with git, Python and sudo, a user with sudo, and a clone of this project."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.program import ChildProcess, run_program, start_program
from tests.fresh.settings import Settings
from tests.part_markers import VARIABLE as SKIPS
from tests.unsteady import VARIABLE as UNSTEADY

NAME = "fresh"
USER = "user"
PACKAGES = ("git", "python3", "sudo")
HOME = f"/home/{USER}"
CLONE = f"{HOME}/hotplug-harness"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
"""Of a user who is not root: Debian's /etc/profile."""
KEPT = 'Defaults env_keep += "http_proxy https_proxy ftp_proxy all_proxy no_proxy"'


def work(
    command: list[str | Path], seconds: float, what: str, *, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program that must succeed and return what it printed. Raises InfrastructureError with its last words."""
    ended = run_program(command, Deadline(seconds, what), environment=environment)
    if ended.status:
        raise InfrastructureError(f"{what}: '{command[0]}' failed: {ended.failure()}")
    return ended.output


class Root:
    """The root in ``place``, of Debian's release ``suite``, with the machine's ``settings``.

    It belongs into a namespace of its own, which takes the mounts with it. The methods go in the order in which they stand.
    """

    def __init__(self, place: Path, suite: str, settings: Settings) -> None:
        self.path = place / "root"
        self._place = place
        self._suite = suite
        self._settings = settings

    def make(self) -> None:
        """Fetch and install the packages."""
        stage, options, sources = (self._place / name for name in ("stage", "apt.conf", "machine.sources"))
        stage.mkdir()
        _write(stage, self._settings.keys)
        options.write_text(self._settings.fetching)
        sources.write_text(self._settings.sources)
        work(
            [
                "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
                f"--aptopt={options}", f'--setup-hook=cp -a {stage}/. "$1"', self._suite, self.path, sources,
            ],
            900,
            "making the root",
            environment=os.environ,
        )  # fmt: skip

    def settle(self, shared: Path) -> None:
        """Write the machine's settings, mount what a machine has and ``shared`` beside the clone, and add the user."""
        _write(self.path, self._settings.files)
        socket.sethostname(NAME)
        (self.path / "etc" / "hostname").write_text(f"{NAME}\n")
        with (self.path / "etc" / "hosts").open("a+") as hosts:
            hosts.write(f"\n127.0.0.1 localhost\n127.0.1.1 {NAME}\n")
        self._mount(self.path, "", "--bind")
        self._mount("proc", "proc", "-t", "proc")
        self._mount("sysfs", "sys", "-t", "sysfs", "-o", "ro")
        self._mount("/dev", "dev", "--bind")
        self._mount("devpts", "dev/pts", "-t", "devpts", "-o", "newinstance,ptmxmode=666,mode=620,gid=5")
        self._mount("tmpfs", "dev/shm", "-t", "tmpfs", "-o", "mode=1777")
        self._mount("tmpfs", "run", "-t", "tmpfs", "-o", "mode=755")
        for folder in self._settings.directories:
            if not (self.path / folder[1:]).exists():
                self._mount(folder, folder[1:], "--bind", "-o", "ro")
        self.inside("useradd", "--create-home", "--shell", "/bin/bash", USER)
        sudoers = self.path / "etc" / "sudoers.d" / USER
        sudoers.write_text(f"{KEPT}\n{USER} ALL=(ALL) NOPASSWD: ALL\n")
        sudoers.chmod(0o440)
        if shared.is_dir():
            self._mount(shared, f"{HOME[1:]}/shared", "--bind", "-o", "ro")

    def clone(self, project: Path) -> str:
        """Clone the commit that is checked out in ``project``, as the user, and return its name."""
        bundle = self.path / HOME[1:] / "project.bundle"
        if (
            work(
                ["git", "-C", project, "rev-parse", "--is-shallow-repository"], 60, "naming the commit"
            ).strip()
            != "false"
        ):
            raise InfrastructureError(
                f"{project} is a shallow clone, which cannot be cloned again",
                hint="Fetch the rest first: git fetch --unshallow",
            )
        commit = work(["git", "-C", project, "rev-parse", "HEAD"], 60, "naming the commit").strip()
        work(
            ["git", "-C", project, "bundle", "create", "--quiet", bundle, "HEAD"], 120, "packing the project"
        )
        bundle.chmod(0o644)
        self.inside("git", "clone", "--quiet", f"{HOME}/project.bundle", CLONE, user=True)
        bundle.unlink()
        return commit

    def release(self) -> str:
        """Return the release that it is, point release included: ``Debian 12.5``."""
        return f"Debian {(self.path / 'etc' / 'debian_version').read_text().strip()}"

    def inside(self, *command: str, user: bool = False) -> None:
        """Run a program in the root that must succeed."""
        work(
            [*self._enter(user=user), *command],
            120,
            f"{command[0]} in the root",
            environment=self._environment(user=user),
        )

    def run(self, command: str, seconds: float) -> int:
        """Run a shell command in the clone as the user, writing where this process writes, and return its exit status.

        This process must be the first of its namespace: it reaps what the command's orphans leave, as init does. Raises
        InfrastructureError when the time is over.
        """
        sys.stdout.flush()
        words = [*self._enter(user=True), "bash", "-c", f"cd {CLONE} && {command}"]
        child = start_program(
            words, command, environment=self._environment(user=True), stdout=None, stderr=None
        )
        deadline = Deadline(seconds, command)
        status = deadline.poll(
            lambda: _reap(child),
            interval=0.05,
            error=lambda: InfrastructureError(
                f"'{command}' did not end within {seconds:g} s in the fresh root"
            ),
        )
        return status if status >= 0 else 128 - status

    def _enter(self, *, user: bool) -> list[str]:
        return ["/usr/sbin/chroot", *([f"--userspec={USER}:{USER}"] if user else []), str(self.path)]

    def _environment(self, *, user: bool) -> dict[str, str]:
        """Return what a login shell has, and what the machine's settings add."""
        if not user:
            return {"PATH": f"/usr/local/sbin:/usr/sbin:/sbin:{PATH}", "LC_ALL": "C.UTF-8"}
        login = {
            "HOME": HOME,
            "USER": USER,
            "LOGNAME": USER,
            "SHELL": "/bin/bash",
            "PATH": PATH,
            "LANG": "C.UTF-8",
        }
        asked = {name: os.environ[name] for name in (SKIPS, UNSTEADY) if name in os.environ}
        return {**self._settings.variables, **login, **asked}

    def _mount(self, source: str | Path, point: str, *options: str) -> None:
        target = self.path / point
        target.mkdir(parents=True, exist_ok=True)
        work(["mount", *options, source, target], 60, f"mounting {target}")


def _reap(child: ChildProcess) -> int | None:
    """Reap what has ended; return the exit status of ``child``, negative for a signal, once it has."""
    while True:
        number, status = os.waitpid(-1, os.WNOHANG)
        if number == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode
        if number == 0:
            return None


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their paths below ``root``, for all to read, except what may hold a password."""
    for name, content in files.items():
        path = root / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.write_bytes(content)
        path.chmod(0o600 if "auth.conf" in name else 0o644)


def left_running() -> list[str]:
    """Return the command lines of the processes in this namespace besides this one."""
    running = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if words:
                running.append(words)
    return running
