# SPDX-License-Identifier: MIT
"""A Slurm of the tests' own on loopback: munged, slurmctld, and a slurmd for each of two nodes on this machine.

Key, settings, ports and state are its own, and no process of it becomes a daemon: it is whoever's who runs it.
Jobs are not put into cgroups, which a container may not have.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

from harness.deadline import Deadline
from tests.processes_of import words_of

NODES = ("node1", "node2")
CPUS, MEMORY = 16, 80_000
"""What each node says that it has, in processors and MiB: room for two jobs of the printed script."""
NO_CGROUPS = (23, 11)
"""From this version on slurmd starts without cgroups only if told so, and before it does not know the word (cgroup.conf(5))."""
LEASH = ("setpriv", "--pdeathsig", "TERM", "--")
"""Before a command: the kernel sends it SIGTERM when the thread that started it ends."""
START_S = 60.0
END_S = 90.0
"""Longer than Slurm waits from SIGTERM to SIGKILL, 30 s by default (slurm.conf(5), KillWait)."""

SETTINGS = """\
ClusterName=harness
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={place}/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory={memory}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} RealMemory={memory}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class PrivateSlurm:
    """A cluster in ``place``. Its commands are run with :attr:`environment`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.settings = place / "slurm.conf"
        self.environment = {
            **os.environ,
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            "SLURM_CONF": str(self.settings),
        }
        self._daemons: list[subprocess.Popen[bytes]] = []

    @property
    def version(self) -> tuple[int, ...]:
        """Slurm's version."""
        words = subprocess.run(
            ["slurmd", "-V"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=True,
        )
        return tuple(map(int, words.stdout.split()[-1].split(".")[:2]))

    def start(self) -> None:
        """Start all daemons, and wait until both nodes take jobs."""
        # munged and slurmctld want directories that others can enter; the key is for its owner alone.
        self.place.chmod(0o755)
        for name in ("state", *NODES):
            (self.place / name).mkdir(mode=0o755)
        with contextlib.ExitStack() as probes:
            made = [probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
            ports = [probe.getsockname()[1] for probe in made]
        host, user = socket.gethostname().partition(".")[0], os.geteuid()
        self.settings.write_text(
            SETTINGS.format(place=self.place, host=host, user=user, ports=ports, cpus=CPUS, memory=MEMORY)
        )
        if self.version >= NO_CGROUPS:
            (self.place / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        key = self.place / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = {"socket": "munge", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "seed"}
        words = [f"--{name}={self.place / file}" for name, file in files.items()]
        self._daemon("munged", "munged", "--foreground", *words)
        Deadline(START_S, "munged").poll((self.place / "munge").exists, interval=0.05)
        self._daemon("slurmctld", "slurmctld", "-D", "-f", str(self.settings))
        for node in NODES:
            self._daemon(f"slurmd-{node}", "slurmd", "-D", "-N", node, "-f", str(self.settings))
        Deadline(START_S, f"idle nodes; the logs are in {self.place}").poll(self._idle, interval=0.1)

    def _daemon(self, name: str, *words: str) -> None:
        with (self.place / f"{name}.log").open("ab") as log:
            self._daemons.append(
                subprocess.Popen(
                    [*LEASH, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.place,
                    env=self.environment, start_new_session=True,
                )
            )  # fmt: skip

    def _idle(self) -> bool:
        assert self._alive(), self.logs()
        asked = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N %t"], env=self.environment, capture_output=True, text=True,
            timeout=START_S, check=False,
        )  # fmt: skip
        return asked.stdout.split("\n")[:-1] == [f"{node} idle" for node in NODES]

    def _alive(self) -> bool:
        return all(daemon.poll() is None for daemon in self._daemons)

    def logs(self) -> str:
        """Return what the daemons said last."""
        return "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in self.place.glob("*.log"))

    def run(self, *words: str, cwd: Path | None = None, **environment: str) -> str:
        """Return the output of one of Slurm's commands, which must succeed."""
        ended = subprocess.run(
            words, env={**self.environment, **environment}, cwd=cwd or self.place, capture_output=True, text=True,
            timeout=START_S, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{words}: {ended.stderr}\n{self.logs()}"
        return ended.stdout.strip()

    def jobs(self) -> dict[str, str]:
        """Return the node of each job that is not over, "" for one that waits."""
        lines = self.run("squeue", "-h", "-r", "-o", "%A|%N").splitlines()
        return {job: node for job, _, node in (line.partition("|") for line in lines)}

    def job(self, number: str) -> dict[str, str]:
        """Return what Slurm knows of a job, also of one that is over."""
        words = self.run("scontrol", "-o", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def processes(self, job: str = "") -> list[int]:
        """Return the processes that this cluster started, or those of one job: they inherit variables of it."""
        wanted = [f"SLURM_CONF={self.settings}".encode(), *([f"SLURM_JOB_ID={job}".encode()] if job else [])]
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                said = (entry / "environ").read_bytes().split(b"\0")
                if all(each in said for each in wanted):
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Cancel all jobs, and end the daemons. What is left then is a fault, and is killed."""
        try:
            jobs = self.jobs() if len(self._daemons) > len(NODES) and self._alive() else {}
            if jobs:
                self.run("scancel", *jobs)
                Deadline(END_S, "the end of the jobs").poll(lambda: not self.jobs(), interval=0.1)
        finally:
            for daemon in reversed(self._daemons):
                daemon.terminate()
            for daemon in self._daemons:
                daemon.wait(END_S)
            left = {pid: " ".join(words_of(pid)) for pid in self.processes()}
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert not left, left
