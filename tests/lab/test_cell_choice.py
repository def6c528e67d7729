# SPDX-License-Identifier: MIT
"""Choosing cells of a matrix: expressions as one reads them, mistakes in words, and what failed before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.main import main
from harness.errors import UsageError
from harness.lab.cell_choice import failed, only
from harness.lab.matrix import Matrix, decode_matrix

LAB = """
repeat = 2
[[guest]]
name = "host"
[[guest]]
name = "wine"
[[plan]]
plan = "veto"
[[plan]]
plan = "reset"
"""
MATRIX = decode_matrix(LAB, name="lab.toml", base=Path())


def ids(matrix: Matrix) -> set[str]:
    """Return the cells, without what all have in common."""
    return {cell.id.replace(".process.default", "") for cell in matrix.cells}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("plan=veto", {"host.veto.1", "host.veto.2", "wine.veto.1", "wine.veto.2"}),
        ("guest=host and repetition=1", {"host.veto.1", "host.reset.1"}),
        ("not guest=host and not plan=veto", {"wine.reset.1", "wine.reset.2"}),
        ("plan=veto and guest=host or plan=reset and guest=wine", {"host.veto.1", "host.veto.2", "wine.reset.1", "wine.reset.2"}),
        ("plan=veto and (guest=wine or repetition=2)", {"wine.veto.1", "wine.veto.2", "host.veto.2"}),
        ("not (guest=wine or plan=reset) and not not repetition=2", {"host.veto.2"}),
        ("(plan=veto)and(repetition=1)and(guest=host)", {"host.veto.1"}),
    ],
)  # fmt: skip
def test_an_expression_chooses(expression: str, expected: set[str]) -> None:
    """``or`` binds least, then ``and``, then ``not``; the order of the matrix stays."""
    found = only(MATRIX, expression)
    assert (expected, True, True) == (
        ids(found), found.digest != MATRIX.digest, [cell for cell in MATRIX.cells if cell in found.cells] == found.cells,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "it ends too early"),
        ("plan", "'plan' is not of the form field=value"),
        ("plan=veto and", "it ends too early"),
        ("(plan=veto", "a ')' is missing"),
        ("plan=veto)", "')' is unexpected"),
        ("plan=veto plan=reset", "'plan=reset' is unexpected"),
        ("paln=veto", "Did you mean 'plan'?"),
        ("plan=vetto", "Did you mean 'veto'?"),
        ("guest=twin", "There are: host, wine."),
        ("plan=veto and plan=reset", "chooses no run"),
        ("not " * 200 + "plan=veto", "nested too deeply"),
        ("(" * 20_000, "more than 10000"),
    ],
)
def test_a_mistake_is_told(expression: str, said: str) -> None:
    """With the way out."""
    with pytest.raises(UsageError) as caught:
        only(MATRIX, expression)
    assert said in str(caught.value)


PIECES = ["plan=veto", "repetition=1", "and", "or", "not", "(", ")", "=", " ", "a", "b=", "\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join) | st.text(max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    """Nothing else is raised."""
    try:
        found = only(MATRIX, text)
    except UsageError:
        return
    assert set(found.cells) <= set(MATRIX.cells)


def test_all_of_it_is_the_matrix_itself() -> None:
    """So that it goes on with the nightly run of all cells."""
    assert MATRIX.digest == only(MATRIX, "guest=host or guest=wine").digest


def test_a_nightly_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """And a file that is none."""
    with pytest.raises(UsageError, match="No such file"):
        failed(MATRIX, tmp_path / "nosuch")
    (tmp_path / "state.jsonl").write_text("x\n")
    with pytest.raises(UsageError, match="is not the state of a nightly run"):
        failed(MATRIX, tmp_path)


def host_lab(folder: Path) -> Path:
    """Write a lab with a plan that holds and one that does not."""
    (folder / "wrong.toml").write_text('name = "wrong"\n[[do]]\nop = "expect"\nstarts = 7\n')
    file = folder / "lab.toml"
    file.write_text('[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n[[plan]]\nplan = "./wrong.toml"\n')
    return file


@pytest.mark.host
@pytest.mark.usefixtures("compiled")
def test_only_what_is_chosen_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--only with nightly --once; afterwards --dry-run says what such a run costs, and of the other that nothing is known."""
    file, into = host_lab(tmp_path), tmp_path / "kept"
    place = ["--lab", str(file), "--into", str(into), "--json"]
    assert 0 == main(["nightly", "--once", "--only", "not plan=wrong", *place])
    ran = json.loads(capsys.readouterr().out)
    assert 0 == main(["nightly", "--dry-run", *place])
    planned = json.loads(capsys.readouterr().out)
    costs = {cell["id"].split(".")[3]: cell["seconds"] for cell in planned["cells"]}
    assert (1, ["host.process.default.veto.1"], 1, True, None, costs["veto"]) == (
        ran["planned"], [run["cell"] for run in ran["runs"]], planned["known"], costs["veto"] > 0, costs["wrong"],
        planned["seconds"],
    )  # fmt: skip


@pytest.mark.host
@pytest.mark.usefixtures("compiled")
def test_what_failed_is_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--rerun-failed with nightly --once takes a name and does what did not hold, in a nightly run of its own."""
    file, into = host_lab(tmp_path), tmp_path / "kept"
    words = ["nightly", "--once", "--lab", str(file), "--into", str(into), "--json"]
    assert 1 == main([*words, "--name", "first"])
    capsys.readouterr()
    assert 1 == main([*words, "--name", "second", "--rerun-failed", "first"])
    again = json.loads(capsys.readouterr().out)
    assert (["host.process.default.wrong.1"], "second") == (
        [run["cell"] for run in again["runs"]],
        again["night"],
    )
