# SPDX-License-Identifier: MIT
"""A run directory gives back what was written, and refuses or leaves out what is no document of a run."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import LARGEST_DOCUMENT, from_plain, to_plain
from harness.errors import InfrastructureError, UsageError
from harness.history import run_directory
from harness.history.evidence import EvidenceIndex, EvidenceItem
from harness.history.run_directory import FACTS, INDEX, LARGEST, Brief, RunDirectory, RunFacts
from harness.run.operation import AddCpu
from harness.run.plan import Plan

FIRST = {
    "run": "r", "harness": "0.1.0", "argv": ["harness", "run", "p"], "guest": "twin", "plan": {"name": "p"},
    "seed": 7, "started": "2026-01-01T00:00:00Z",
}  # fmt: skip
"""The fields that run.json has had from the first version on."""


def directory(path: Path, facts: bytes) -> RunDirectory:
    """A run directory whose run.json holds these bytes."""
    path.mkdir(exist_ok=True)
    (path / "run.json").write_bytes(facts)
    return RunDirectory(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Facts and the evidence's index come back as they were; ``latest`` leads to the newest run."""
    run = RunDirectory.create(tmp_path, "a plan/..")
    facts = RunFacts(**{**FIRST, "run": run.name})  # type: ignore[arg-type]
    index = EvidenceIndex(run=run.name, why="why", items=[EvidenceItem(name="state", state="collected")])
    (run.path / "evidence").mkdir()
    run.write_facts(facts)
    run.write_json("evidence/index.json", index)
    latest = RunDirectory(tmp_path / "latest")
    assert (facts, index, run.path) == (latest.facts(), latest.evidence(), latest.path.resolve())
    assert (0o700, "-a-plan-") == (run.path.stat().st_mode & 0o777, run.name[15:23])


def test_older_and_newer_facts_are_read(tmp_path: Path) -> None:
    """A file of the first version has defaults for what came later; keys that came after this version are left out."""
    older = directory(tmp_path / "older", msgspec.json.encode(FIRST))
    newer = directory(
        tmp_path / "newer", msgspec.json.encode({**FIRST, "orbit": [1], "kernel_release": "6.1"})
    )
    assert (1, "", older.facts()) == (older.facts().attempt, older.facts().verdict, newer.facts())
    expected = Brief(run="r", guest="twin", argv=["harness", "run", "p"], plan={"name": "p"})
    assert [expected, msgspec.structs.replace(expected, kernel_release="6.1")] == [
        older.brief(),
        newer.brief(),
    ]


def test_facts_of_the_largest_plan_are_read(tmp_path: Path) -> None:
    """A plan of as many operations as one may have, each with the longest words that its document has room for."""
    words = "x" * (LARGEST_DOCUMENT // 10_000)
    plan = Plan(name="p", do=[AddCpu(id=words, expect="refused", saying=words)] * 10_000)
    facts = RunFacts(**{**FIRST, "plan": to_plain(plan)})  # type: ignore[arg-type]
    run = RunDirectory.create(tmp_path, "largest")
    run.write_facts(facts)
    assert (facts, plan) == (run.facts(), from_plain(run.brief().plan, Plan))


def test_a_directory_without_evidence_has_none(tmp_path: Path) -> None:
    """A run that went well has collected nothing."""
    assert RunDirectory(tmp_path).evidence() is None


@given(
    st.one_of(
        st.binary(max_size=100),
        st.sampled_from([b'{"run": 3}', b"[" * 100_000, b'{"run":"' + b"a" * LARGEST]),
    )
)
def test_any_bytes_are_refused_with_the_file_s_name(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Facts that do not decode, or are too large, are a user's mistake that names the file; in brief there are none."""
    run = directory(tmp_path_factory.getbasetemp() / "any", data)
    with pytest.raises(UsageError, match=r"run\.json does not say what it was made of") as refused:
        run.facts()
    assert refused.value.hint
    assert Brief() == run.brief()


def pipe(file: Path) -> None:
    """Make a named pipe that nobody writes to."""
    os.mkfifo(file)


def directory_instead(file: Path) -> None:
    """Make a directory."""
    file.mkdir()


def dangling(file: Path) -> None:
    """Make a link to nothing."""
    file.symlink_to(file.parent / "nothing")


@pytest.mark.parametrize("make", [pipe, directory_instead, dangling])
def test_what_is_no_file_is_refused(tmp_path: Path, make: object) -> None:
    """Nothing waits for a pipe's writer."""
    make(tmp_path / FACTS)  # type: ignore[operator]
    with pytest.raises(UsageError, match=r"run\.json: (not a regular file|No such file)"):
        RunDirectory(tmp_path).facts()
    assert Brief() == RunDirectory(tmp_path).brief()


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    """The directory of a run may be put together from links."""
    (tmp_path / "elsewhere").write_bytes(msgspec.json.encode(FIRST))
    (tmp_path / FACTS).symlink_to("elsewhere")
    assert "twin" == RunDirectory(tmp_path).brief().guest


def test_a_failed_write_names_the_file(tmp_path: Path) -> None:
    """A directory that is gone is the infrastructure's failure."""
    with pytest.raises(InfrastructureError, match=f"cannot write .*{INDEX}"):
        RunDirectory(tmp_path / "gone").write_json(INDEX, {})


@pytest.mark.parametrize("others", [1, 5])
def test_two_runs_that_draw_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """The second draws again: some hundred begin in one second when plans are explored."""
    drawn = iter(["0000", *["0000"] * others, "0001"])
    monkeypatch.setattr(run_directory, "secrets", SimpleNamespace(token_hex=lambda _: next(drawn)))
    monkeypatch.setattr(run_directory, "time", SimpleNamespace(strftime=lambda _: "20261130-120000"))
    names = [RunDirectory.create(tmp_path, "veto").name for _ in range(2)]
    assert names == ["20261130-120000-veto-0000", "20261130-120000-veto-0001"]


def test_no_name_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries the reason is said."""
    monkeypatch.setattr(run_directory, "secrets", SimpleNamespace(token_hex=lambda _: "0000"))
    monkeypatch.setattr(run_directory, "time", SimpleNamespace(strftime=lambda _: "20261130-120000"))
    RunDirectory.create(tmp_path, "veto")
    with pytest.raises(InfrastructureError, match=r"cannot make the run directory .*0000: File exists"):
        RunDirectory.create(tmp_path, "veto")
