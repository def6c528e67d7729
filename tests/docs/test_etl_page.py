# SPDX-License-Identifier: MIT
"""What docs/etl.md shows of real logs is what the command prints of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from docs.shown_commands import ROOT

from harness.cli.main import main

DATA = ROOT.parent / "shared" / "data" / "etl"
PAGE = (ROOT / "docs" / "etl.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```sh\nharness (etl [^\n]*)\n```\n\n```text\n(.*?)\n```", PAGE, re.DOTALL)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded Windows logs at {DATA}")
@pytest.mark.parametrize(("words", "lines"), SHOWN, ids=[words for words, _ in SHOWN])
def test_a_real_log_is_shown_as_it_is_printed(
    words: str,
    lines: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each line of the page comes out of the command, in that order; ``--tmf formats`` finds the format files."""
    for log in DATA.glob("*.etl"):
        (tmp_path / log.name).symlink_to(log)
    (tmp_path / "formats").symlink_to(DATA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["harness", *shlex.split(words)])
    assert main() == 0
    printed = iter(capsys.readouterr().out.splitlines())
    missing = [line for line in lines.splitlines() if line not in printed]
    assert missing == []


def test_the_page_shows_a_pktmon_log_and_wpp_logs() -> None:
    """Both kinds that need descriptions from elsewhere, decoded; and what is said where they are not given."""
    logs = [words.split()[2] for words, _ in SHOWN]
    assert {"demi_db9cd7_PktMon.etl", "fn_wppbin-sample.etl", "fn_wppemitter-sample.etl"} <= set(logs)
