# SPDX-License-Identifier: MIT
"""A soak's own corner of the host: everything that its runs make lies here, so that whatever is left can be found."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from harness.host.registry import MachineEntry, Registry
from harness.setup.cache import cache_directory
from tests.private_libvirtd import PrivateLibvirtd
from tests.processes_of import processes_of, words_of

ROOT = Path(__file__).parents[2]


Streams = Literal["file", "pipe", "closed"]
"""Where the output of a command goes."""


class OtherUser(NamedTuple):
    """Another user of the host."""

    uid: int
    gid: int
    environment: dict[str, str]


class Place:
    """Directories for runs, registry, runtime and leases; a libvirtd of its own, unless ``libvirt`` is false."""

    def __init__(self, *, libvirt: bool) -> None:
        # Short, so that sockets can be made in it.
        self.path = Path(tempfile.mkdtemp(prefix="hh-soak-", dir="/tmp"))
        self.runs = self.path / "runs"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(self.path / "state"),
            "XDG_RUNTIME_DIR": str(self.path / "runtime"),
            "HOTPLUG_HARNESS_LEASES": str(self.path / "leases"),
            # Too few for three machines at once: some are hit while they wait for their lease.
            "HOTPLUG_HARNESS_BUDGET_VCPUS": "7",
            "TMPDIR": str(self.path / "tmp"),
        }
        for name in ("runtime", "tmp"):
            (self.path / name).mkdir(mode=0o700)
        self.registry = Registry(self.path / "state" / "hotplug-harness" / "machines")
        self.interfaces = _interfaces()
        self.libvirtd: PrivateLibvirtd | None = None
        self._other: OtherUser | None = None
        self._mounts: list[Path] = []
        if libvirt:
            daemon = Path(tempfile.mkdtemp(prefix="hh-", dir="/tmp"))
            (daemon / "runtime").mkdir(mode=0o700)
            self.libvirtd = PrivateLibvirtd(daemon)
            self.libvirtd.start()

    def close(self, *, keep: bool = False) -> None:
        """End libvirtd, and remove everything, run directories included unless ``keep``."""
        for folder in list(self._mounts):
            self.unmount(folder)
        if self.libvirtd is not None:
            self.libvirtd.close()
            shutil.rmtree(self.libvirtd.directory, ignore_errors=True)
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)

    def start(
        self,
        *arguments: str,
        log: Path,
        module: str = "harness",
        streams: Streams = "file",
        user: bool = False,
        script: Path = Path(os.devnull),
    ) -> subprocess.Popen[bytes]:
        """Start the command itself as a process of its own; ``user`` as another user, who reads what this one reads.

        ``script`` is its standard input.
        """
        command = [sys.executable, "-m", module, *arguments]
        environment = self.environment
        if streams == "closed":
            command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
        if user:
            other = self.other()
            environment = {**environment, **other.environment}
            os.chown(arguments[arguments.index("--runs") + 1], other.uid, other.gid)
            rights = "+dac_read_search"
            command = [
                "setpriv", f"--reuid={other.uid}", f"--regid={other.gid}", "--clear-groups", f"--inh-caps={rights}",
                f"--ambient-caps={rights}", "--", *command,
            ]  # fmt: skip
        with log.open("wb") as output, script.open("rb") as lines:
            return subprocess.Popen(
                command,
                stdin=lines,
                stdout=subprocess.PIPE if streams == "pipe" else output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def other(self) -> OtherUser:
        """Return another user with directories of its own in this place: a cache with this user's images, all else empty."""
        if self._other is None:
            nobody = pwd.getpwnam("nobody")
            home = self.path / "other"
            self._other = OtherUser(
                uid=nobody.pw_uid,
                gid=nobody.pw_gid,
                environment={
                    "HOME": str(home),
                    "XDG_STATE_HOME": str(home / "state"),
                    "XDG_RUNTIME_DIR": str(home / "runtime"),
                    "HOTPLUG_HARNESS_CACHE": str(home / "cache"),
                    "TMPDIR": str(home / "tmp"),
                },
            )
            for name in ("runtime", "tmp", "state", "cache"):
                (home / name).mkdir(parents=True, mode=0o700)
            images = cache_directory(os.environ) / "twin"
            for folder in (
                folder for folder in images.glob("*") if folder.suffix != ".new" and folder.is_dir()
            ):
                # Another clone may remove an old image meanwhile.
                with contextlib.suppress(shutil.Error, FileNotFoundError):
                    shutil.copytree(
                        folder, home / "cache" / "twin" / folder.name, symlinks=True, copy_function=_link
                    )
            for path in (
                home,
                *(path for path in home.rglob("*") if path.is_dir() and not path.is_symlink()),
            ):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            # As the directory that is every user's.
            (self.path / "leases").mkdir(exist_ok=True)
            (self.path / "leases").chmod(0o1777)
            self.path.chmod(0o711)
            self.runs.chmod(0o711)
        return self._other

    def mount(self, folder: Path, size: int) -> None:
        """Make ``folder`` a disk of its own with so many bytes."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        self._mounts.append(folder)

    def fill(self, folder: Path) -> bool:
        """Fill a disk."""
        with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return True

    def unmount(self, folder: Path) -> None:
        """Take a disk away."""
        subprocess.run(["umount", "--lazy", folder], check=True)
        self._mounts.remove(folder)

    def entry_of(self, harness: int) -> MachineEntry | None:
        """Return the entry of the machine that a harness runs."""
        return next((each for each in self.registry.entries() if each.harness.pid == harness), None)

    def collect(self) -> str:
        """Run ``harness gc --yes``; return what it said if it failed."""
        log = self.path / "gc.log"
        code = self.start("gc", "--yes", log=log).wait(120)
        return "" if code == 0 else f"harness gc ended with {code}: {log.read_text()}"

    def processes(self) -> list[str]:
        """Return the processes, libvirt's daemons left out, whose command mentions this place."""
        return [f"process {pid}: {' '.join(words_of(pid))[:200]}" for pid in processes_of(str(self.path))]

    def remains(self) -> list[str]:
        """Return everything that must not be here between runs, each in words."""
        found = self.processes()
        found += [f"entry {path.name}" for path in _inside(self.registry.directory)]
        found += [f"runtime directory {path.name}" for path in _inside(self.path / "runtime")]
        found += [f"lease {path.name}" for path in _inside(self.path / "leases") if path.name != "README"]
        found += [f"temporary {path.name}" for path in _inside(self.path / "tmp")]
        if self._other is not None:
            home = self.path / "other"
            found += [f"entry {path.name} of another user" for path in (home / "state").rglob("*.json")]
            found += [f"runtime directory {path.name} of another user" for path in _inside(home / "runtime")]
            found += [f"temporary {path.name} of another user" for path in _inside(home / "tmp")]
        found += [f"lock on {path}" for path in self._locked()]
        overlays = [path for path in self.runs.rglob("*") if path.suffix in (".qcow2", ".raw", ".fd")]
        found += [f"file {path.relative_to(self.runs)}" for path in sorted(overlays)]
        found += [f"network interface {name}" for name in sorted(_interfaces() - self.interfaces)]
        if self.libvirtd is not None:
            found += [f"domain {uuid}" for uuid in self.libvirtd.domains()]
            found += [f"libvirt network {name}" for name in self.libvirtd.networks()]
        return found

    def _locked(self) -> list[Path]:
        """Return the files here on which somebody still holds a lock (proc(5), /proc/locks)."""
        held = {line.split()[5].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines()}
        own = [path for path in self.path.rglob("*") if path.is_file() or path.is_dir()]
        return [path for path in own if str(path.lstat().st_ino) in held]


def _link(source: str, target: str) -> None:
    """Give a file another name, or another file system a copy: the kernel's packages are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _inside(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}
