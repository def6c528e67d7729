# SPDX-License-Identifier: MIT
"""Metrics: the text format as Prometheus' own page defines it, whole files of mode 0644, and no word of a guest."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from store.made_runs import outcome
from store.test_morning import incident, nightly

from harness.errors import InfrastructureError
from harness.lab.matrix import decode_matrix
from harness.lab.nightly_state import NightlyState, open_nightly_run
from harness.store.metrics import PREFIX, metrics, text, write_metrics

MATRIX = decode_matrix(
    'repeat = 3\nname = "my-lab"\n[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n', name="x", base=Path()
)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[NightlyState]:
    """A nightly run of which two of three cells are over; their reason is what a guest said."""
    with open_nightly_run(tmp_path / "nightly", MATRIX, name="n") as opened:
        opened.record(outcome("host.process.default.veto.1", "a"))
        opened.record(
            outcome("host.process.default.veto.2", "b", verdict="violated", code=1, reason='evil"} 1\n# HELP')
        )
        yield opened


def test_the_file_is_the_text_format(state: NightlyState) -> None:
    """Prometheus: docs/instrumenting/exposition_formats.md. HELP and TYPE before the samples of each metric, each once."""
    said = text(metrics(state, MATRIX, nightly(new=[incident("A")]), now=1_790_000_000.5), "my-lab")
    lines = said.splitlines()
    sample = re.compile(rf'({PREFIX}_[a-z_]+)\{{lab="my-lab"(?:,[a-z]+="[a-z]+")?\}} -?[0-9][0-9.e+]*')
    seen: list[str] = []
    for line in lines:
        if line.startswith("# "):
            kind, name, rest = re.fullmatch(rf"# (HELP|TYPE) ({PREFIX}_[a-z_]+) (.+)", line).groups()  # type: ignore[union-attr]
            assert (kind == "HELP") is (name not in seen)
            assert kind == "HELP" or rest == "gauge"
            seen.append(name)
        else:
            found = sample.fullmatch(line)
            assert found is not None, line
            assert found[1] == seen[-1]
    assert said.endswith("\n")
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert ["1", "1", "0", "3", "1", "40", "1", "1", "1790000000.5"] == [
        values[f'{PREFIX}_{name}'] for name in (
            'runs{lab="my-lab",result="holds"}', 'runs{lab="my-lab",result="violated"}', 'runs{lab="my-lab",result="plan"}',
            'runs_planned{lab="my-lab"}', 'runs_left{lab="my-lab"}', 'runs_seconds{lab="my-lab"}',
            'unsteady_points{lab="my-lab"}', 'incidents{lab="my-lab",sort="new"}', 'end_timestamp_seconds{lab="my-lab"}',
        )
    ]  # fmt: skip


def test_without_a_store_there_are_no_incidents(state: NightlyState) -> None:
    """A number that is not known is not zero."""
    assert "incidents" not in text(metrics(state, MATRIX, None, now=0), "my-lab")


def test_the_file_is_replaced_and_everybody_may_read_it(state: NightlyState, tmp_path: Path) -> None:
    """Also where the umask takes that away, and what is there is a link to something else."""
    file, other = tmp_path / "nightly.prom", tmp_path / "other"
    other.write_text("mine")
    file.symlink_to(other)
    write_metrics(file, "a 1\n")
    assert ("a 1\n", 0o644, "mine", ["nightly", "nightly.prom", "other"]) == (
        file.read_text(), file.stat().st_mode & 0o777, other.read_text(), sorted(path.name for path in tmp_path.iterdir()),
    )  # fmt: skip


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Nothing is left behind."""
    with pytest.raises(InfrastructureError, match="cannot write the metrics to"):
        write_metrics(tmp_path / "nosuch" / "nightly.prom", "a 1\n")


@pytest.mark.prometheus
def test_promtool_takes_it(state: NightlyState) -> None:
    """Prometheus' own checker, which also lints names and help; it tells a file that is cut."""
    said = text(metrics(state, MATRIX, nightly(), now=1.0), "my-lab")
    ends = [
        subprocess.run(
            ["promtool", "check", "metrics"],
            input=words,
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
        )
        for words in (said, said[:-20])
    ]
    assert [(0, ""), True] == [(ends[0].returncode, ends[0].stdout + ends[0].stderr), ends[1].returncode != 0]
