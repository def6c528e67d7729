# SPDX-License-Identifier: MIT
"""The kept sets: one directory per revision of the harness, with its runs and the verdicts that it gave them."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.contract.verdict import Judged

HERE = Path(__file__).parent
RUNS = HERE / "runs"
INDEX = "expected.json"
DIFFERENCES = HERE / "differences.toml"


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the recording revision said of one run. ``command`` made the run; ``rules`` has the verdict of each rule."""

    command: str
    verdict: str
    exit_code: int
    failure_class: str
    rules: dict[str, str]

    def option(self, name: str) -> str:
        """Return the value of an option of the command, "" without it."""
        words = shlex.split(self.command)
        return words[words.index(name) + 1] if name in words else ""


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The index of a set: the revision that recorded it, its commit, and its runs by name."""

    revision: str
    commit: str
    runs: dict[str, Expected]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One kept run."""

    revision: str
    name: str
    directory: Path
    expected: Expected

    def __str__(self) -> str:
        return f"{self.revision}/{self.name}"


class Difference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One deliberate difference: ``what`` is ``verdict``, ``exit code``, ``failure class`` or the id of a rule.

    ``run`` is the name of a run, or a pattern of names. ``before`` is what the index says, ``now`` what is judged today;
    ``absent`` stands for a rule that does not exist.
    """

    revision: str
    run: str
    what: str
    before: str
    now: str
    reason: str

    def explains(self, run: Kept, what: str, before: str, now: str) -> bool:
        """Return whether this is the difference that was found in a run."""
        return (
            (self.revision, self.before, self.now) == (run.revision, before, now)
            and fnmatch.fnmatchcase(run.name, self.run)
            and fnmatch.fnmatchcase(what, self.what)
        )


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    difference: list[Difference] = []


def read_index(directory: Path) -> Index:
    """Return the index of the set in a directory."""
    return msgspec.json.decode((directory / INDEX).read_bytes(), type=Index)


def kept_runs(root: Path = RUNS) -> Iterator[Kept]:
    """Yield the runs of all sets."""
    for index in sorted(root.glob(f"*/{INDEX}")):
        for name, expected in read_index(index.parent).runs.items():
            yield Kept(
                revision=index.parent.name, name=name, directory=index.parent / name, expected=expected
            )


def listed_differences(file: Path = DIFFERENCES) -> list[Difference]:
    """Return the deliberate differences."""
    return msgspec.toml.decode(file.read_bytes(), type=_Table).difference


def differences(run: Kept, judged: Judged) -> list[tuple[str, str, str]]:
    """Return what is judged otherwise than by the recording revision: what, before, now."""
    assert judged.verdict is not None, judged.error
    expected = run.expected
    before = {
        "verdict": expected.verdict,
        "exit code": str(expected.exit_code),
        "failure class": expected.failure_class,
        **expected.rules,
    }
    now = {
        "verdict": judged.verdict.verdict.value,
        "exit code": str(int(judged.exit_code)),
        "failure class": judged.verdict.failure_class,
        **{rule.rule: rule.verdict.value for rule in judged.verdict.rules},
    }
    return [
        (what, before.get(what, "absent"), now.get(what, "absent"))
        for what in {**before, **now}
        if before.get(what) != now.get(what)
    ]
