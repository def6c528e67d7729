# SPDX-License-Identifier: MIT
"""The how-tos in docs/ are executed, and what they list is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from harness.acceptance.case import Case, decode_case
from harness.capture.offline.recordings import FILES
from harness.guest.guest_types import GUEST_TYPES
from harness.history.driver import DriverRecord, SyncEnter
from harness.history.record import Header
from harness.history.writer import HistoryWriter
from harness.run.operation import Operation
from harness.run.plan import built_in_plans, decode_plan
from harness.run.rehearsal import rehearse

DOCS = Path(__file__).resolve().parents[2] / "docs"

COMMON: dict[str, Any] = dict.fromkeys(
    ("qpc", "cpu", "irql", "thread", "active", "active_g0", "active_g0_ex", "maximum", "groups"), 0
) | {"channel": "debugcon", "boot": "0" * 16, "driver": "hpnotify"}


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_plan_of_the_page_decodes() -> None:
    """The example plan is a plan."""
    plans = [decode_plan(text, name="docs/plans.md") for text in blocks("plans.md", "toml")]
    assert [[type(operation).__name__ for operation in plan.do] for plan in plans] == [
        ["AddCpu", "VetoNext", "AddCpu", "Expect"],
        ["AddDimm"],
        ["AddDimm", "Unplug", "AddDimm"],
        ["AddCpu", "BootGuest", "Expect"],
    ]
    for plan in plans:
        rehearse(plan, guest="twin")


def test_case_of_the_page_decodes() -> None:
    """The example case is one, and the page lists every key of a case."""
    (text,) = blocks("acceptance.md", "toml")
    assert "mine" == decode_case(text, name="docs/acceptance.md").name
    listed = set(
        re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", (DOCS / "acceptance.md").read_text(), re.MULTILINE)
    )
    keys = {key.strip("[]") for row in listed for key in re.findall(r"`([^`]+)`", row)}
    assert {field.name for field in msgspec.structs.fields(Case)} <= keys


@pytest.mark.parametrize("kind", get_args(Operation), ids=lambda kind: kind.__name__)
def test_page_lists_every_operation_with_its_keys(kind: type[msgspec.Struct]) -> None:
    """Each operation has a row in docs/plans.md that names exactly its keys."""
    tag = f"`{kind.__struct_config__.tag}`"
    rows = [line.split("|") for line in (DOCS / "plans.md").read_text().splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if tag in row[1] and len(row) == 5]
    keys = {field.name for field in msgspec.structs.fields(kind)} - {"timeout"}
    assert set(re.findall(r"`(\w+)`", row[2])) == keys


def test_reading_a_history_as_the_page_says(tmp_path: Path) -> None:
    """The reader example returns the callbacks of a history."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.write(Header(format=1, harness="0", run="r", guest="twin", wall=""))
        writer.write(
            SyncEnter(
                seq=1, reg=1, state=0, nt=2, group=0, number=2, status=0, op=0, ctx=0, max_in_group=0, mask=0,
                idx_status=0, idx_group=0, idx_number=0, back_idx=0, **COMMON,
            )
        )  # fmt: skip
    names: dict[str, Any] = {}
    exec(blocks("history.md", "python")[0], names)
    assert names["callbacks"](tmp_path) == [(0, 2)]


def test_page_lists_every_guest() -> None:
    """The table of docs/guests.md has each guest; the Windows templates share a row."""
    table = (DOCS / "guests.md").read_text().partition("|---|")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `([^`]+)` ", table, re.MULTILINE)
    assert [name for name in GUEST_TYPES if not name.startswith("windows-")] == [
        name for name in named if not name.startswith("windows-")
    ]


@pytest.mark.parametrize("channel", FILES)
def test_every_recorded_channel_is_an_option_and_a_documented_name(channel: str) -> None:
    """docs/cli.md names the channel's option of harness import and its usual file; DriverRecord names the channel."""
    (row,) = re.findall(
        rf"^\| `--{channel}` \|.*usual name `([^`]+)`", (DOCS / "cli.md").read_text(), re.MULTILINE
    )
    assert FILES[channel] == row
    assert f"``{channel}``" in str(DriverRecord.__doc__)


def test_page_lists_the_built_in_plans() -> None:
    """Each built-in plan has its row in docs/plans.md."""
    _, _, section = (DOCS / "plans.md").read_text().partition("## Built-in plans")
    table, _, _ = section.partition("\n## ")
    assert list(built_in_plans()) == re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)
