# SPDX-License-Identifier: MIT
"""``python -m tests.recorded.record``: makes the set of kept runs of a revision, with the verdicts that it gives them.

Each run is made by the clone's own ``./lab harness`` in a fresh place. Of its files those are kept that are read again,
with placeholders for what names this machine. A run is kept only if its copy is judged as the run itself is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.setup.parts import part
from tests.private_libvirtd import PrivateLibvirtd, running_libvirtd
from tests.recorded.kept import INDEX, RUNS
from tests.recorded.placeholders import ROOT, Placeholders, of_machine

SOURCES = ("harness", "guest_drivers", "vm_templates", "lab", "pyproject.toml")
"""What makes a run what it is: it must be as the revision has it."""

KEPT = ("run.json", "history.jsonl", "verdict.json", "evidence/index.json", "driver-map/*")
"""What is read of a run again."""

BESIDE = ("debugcon.log", "dbgprint.jsonl", "ring.jsonl")
"""What is read too where a history lacks the channel."""

ON_HOST = ("cpu-and-dimm", "rebalance", "reload", "veto")
ON_THE_TWIN = ("found-in-firmware", "migrate", "reset", "two-clients", "unplug", "veto")
"""The plans that are recorded on each: together they have every kind of record, and a set stays small."""

SECONDS = 600
PLAN = Path(__file__).with_name("waits-in-vain.toml")


class NotRecorded(Exception):
    """A set, or a run, that is not kept, and why."""


class Recording(NamedTuple):
    """One run to make: its name in the set, and the words after ``harness``."""

    name: str
    words: tuple[str, ...]


class Recorder:
    """Records runs with one clone. ``harness`` is its command, ``place`` a fresh directory with a short path.

    ``others`` maps further directories to their placeholders.
    """

    def __init__(
        self, clone: Path, place: Path, others: Mapping[Path, str], harness: Sequence[str] = ()
    ) -> None:
        self.clone = clone
        self._place = place
        self._others = others
        self._harness = [*(harness or (str(clone / "lab"), "harness"))]
        self._environment = {
            **os.environ,
            "TMPDIR": str(place / "tmp"),
            "XDG_RUNTIME_DIR": str(place / "runtime"),
            "XDG_STATE_HOME": str(place / "state"),
        }
        for name in ("tmp", "runtime", "state"):
            (place / name).mkdir(mode=0o700)

    def keep(self, recording: Recording, into: Path) -> dict[str, Any]:
        """Make a run, keep what is read of it in ``into/<name>``, and return what the index says of it."""
        work = self._place / recording.name
        work.mkdir()
        placeholders = self._placeholders(work)
        ended = self._run(*recording.words, cwd=work)
        made = [path.parent for path in work.glob("runs/*/run.json") if not path.parent.is_symlink()]
        if len(made) != 1:
            raise NotRecorded(f"{recording.name}: {len(made)} runs were made\n{ended.stderr}")
        kept = into / recording.name
        original = self._judge(made[0])
        copy(made[0], kept, placeholders, (*KEPT, *(BESIDE if "joined" in original else ())))
        judged = self._judge(kept)
        if json.loads(placeholders.apply(json.dumps(original, ensure_ascii=False))) != judged:
            raise NotRecorded(f"{recording.name}: the copy in {kept} is judged otherwise than the run")
        if ended.returncode != judged["exit_code"]:
            raise NotRecorded(
                f"{recording.name} ended with {ended.returncode}, and is judged with {judged['exit_code']}\n{ended.stderr}"
            )
        verdict = judged["verdict"]
        rules = {rule["rule"]: rule["verdict"] for rule in verdict["rules"]}
        if len(rules) != len(verdict["rules"]):
            raise NotRecorded(f"{recording.name}: a rule has two verdicts")
        return {
            "command": placeholders.apply(shlex.join(["harness", *recording.words])),
            "verdict": verdict["verdict"],
            "exit_code": judged["exit_code"],
            "failure_class": verdict.get("failure_class", ""),
            "rules": rules,
        }

    def _placeholders(self, work: Path) -> Placeholders:
        tmp, runtime, state = (self._place / name for name in ("tmp", "runtime", "state"))
        return of_machine(
            {
                self.clone: "/CLONE", self._place: "/PLACE", work: "/WORK", work / "runs": "/RUNS",
                tmp: "/TMP", runtime: "/RUNTIME", state: "/STATE", PLAN.parent: "/RECORDED", **self._others,
            }
        )  # fmt: skip

    def _judge(self, run: Path) -> dict[str, Any]:
        """Return what ``harness check`` says of a run, without its path."""
        judged: dict[str, Any] = json.loads(self._run("check", str(run), "--json", cwd=self._place).stdout)
        (one,) = judged["runs"]
        if "verdict" not in one:
            raise NotRecorded(f"{run} cannot be judged: {one['error']}")
        return {name: value for name, value in one.items() if name != "path"}

    def _run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._harness, *words],
            cwd=cwd,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def copy(run: Path, kept: Path, placeholders: Placeholders, patterns: Sequence[str]) -> None:
    """Copy of a run what is read again, with placeholders. Raises NotRecorded if something names the machine."""
    for pattern in patterns:
        for file in sorted(run.glob(pattern)):
            replace = placeholders.apply_to_facts if file.name == "run.json" else placeholders.apply
            text = replace(file.read_bytes().decode())
            if leaks := placeholders.leaks(text):
                raise NotRecorded(f"{kept.name}: {file.relative_to(run)} names this machine: {leaks}")
            target = kept / file.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())


def recordings(clone: Path, uri: str) -> list[Recording]:
    """Return the runs of a set: plans on the host guest and the twin, the twin in each way it can end, libvirt, Wine."""
    twin = ("cpu-and-dimm", "--accel", "tcg")
    tiny = clone / "guest_drivers" / "tiny"
    return [
        *(Recording(f"host-{plan}", ("run", plan, "--guest", "host")) for plan in ON_HOST),
        Recording("twin-demo", ("demo", "--accel", "tcg")),
        *(Recording(f"twin-{plan}", ("run", plan, "--accel", "tcg")) for plan in ON_THE_TWIN),
        Recording("twin-restored", ("run", *twin, "--restore")),
        Recording("twin-violated", ("run", *twin, "--plant", "duplicate-start")),
        Recording("twin-unknown", ("run", *twin, "--plant", "lost-line")),
        Recording("twin-hangs", ("run", str(PLAN), "--accel", "tcg")),
        Recording(
            "twin-mapped",
            ("run", *twin, "--driver", str(tiny), "--driver-map", str(tiny / "harness.toml")),
        ),
        Recording("twin-libvirt", ("run", *twin, "--backend", "libvirt", "--connect", uri)),
        Recording("wine-veto", ("run", "veto", "--guest", "wine")),
    ]


def revision_of(clone: Path) -> tuple[str, str]:
    """Return the short revision of a clone, and its commit. Raises NotRecorded if its sources are not those of it."""
    commit = _git(clone, "rev-parse", "HEAD")
    if changed := _git(clone, "status", "--porcelain", "--", *SOURCES):
        raise NotRecorded(f"{clone} is not as revision {commit[:7]} has it:\n{changed}\nCommit first.")
    return commit[:7], commit


def _git(clone: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(clone), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRecorded(done.stderr.strip())
    return done.stdout.strip()


def free(target: Path, *, force: bool) -> None:
    """Raise NotRecorded if there is a set already, unless it is to be replaced."""
    if target.exists() and not force:
        raise NotRecorded(f"{target} is there already. --force replaces it.")


@contextlib.contextmanager
def fresh_places() -> Iterator[tuple[Path, PrivateLibvirtd]]:
    """A fresh directory for runs, and a running libvirtd with a directory of its own, which its users must reach."""
    # Short, so that sockets can be made in them.
    place = Path(tempfile.mkdtemp(prefix="hh-", dir="/tmp"))
    try:
        with running_libvirtd("/tmp") as libvirtd:
            yield place, libvirtd
    finally:
        shutil.rmtree(place, ignore_errors=True)


def record(clone: Path, root: Path, *, force: bool) -> Path:
    """Record the set of a clone's revision into a directory below ``root``, whole or not at all; return it."""
    revision, commit = revision_of(clone)
    target = root / revision
    free(target, force=force)
    for name in ("qemu", "libvirt", "wine"):
        for need in part(name).missing():
            raise NotRecorded(
                f"this machine lacks {need.evidence[0]} ({need.why}): ./lab test --require {name} supplies it"
            )
    with fresh_places() as (place, libvirtd):
        recorder = Recorder(clone, place, {libvirtd.directory: "/LIBVIRT"})
        draft = place / "set"
        runs = {}
        for recording in recordings(clone, libvirtd.uri):
            runs[recording.name] = said = recorder.keep(recording, draft)
            print(f"{recording.name:<24} {said['verdict']}", flush=True)
        if revision_of(clone) != (revision, commit):
            raise NotRecorded(f"{clone} was changed while it was recorded")
        index = {"revision": revision, "commit": commit, "runs": runs}
        (draft / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n")
        if force:
            shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(draft, target)
    return target


def main() -> int:
    """Record a set; 1 with the reason if none is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clone", type=Path, default=ROOT, help="the clone whose revision is recorded")
    parser.add_argument("--into", type=Path, default=RUNS, help="where sets are kept")
    parser.add_argument("--force", action="store_true", help="replace the set of this revision")
    asked = parser.parse_args()
    try:
        print(record(asked.clone.resolve(), asked.into, force=asked.force))
    except NotRecorded as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
