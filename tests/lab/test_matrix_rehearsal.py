# SPDX-License-Identifier: MIT
"""What no machine can execute is said before the first run starts: all of it at once, with the lines of lab.toml."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import BadDocument, UsageError
from harness.lab import cell_choice, matrix_rehearsal
from harness.lab.matrix import Matrix, decode_matrix
from harness.lab.matrix_rehearsal import WrongPoint, rehearse_matrix
from harness.run.plan import built_in_plans, decode_plan
from harness.run.request import RunRequest

LAB = """repeat = 2
restore = {restore}

[[guest]]
name = "twin"

[[guest]]
name = "host"

[[topology]]
name = "small"
max_processors = 1

[[topology]]
name = "large"
max_processors = 8

[[plan]]
plan = "veto"

[[plan]]
plan = "unplug"
"""
"""One processor is less than a machine of the harness has at power-on, two, and the guest host has no unplug."""

WRONG = [
    ("lab.toml:19", "twin.default.small.veto", {"topology": 10, "guest": 4}, "processors = 2 is more than"),
    ("lab.toml:22", "twin.default.small.unplug", {"topology": 10, "guest": 4}, "processors = 2 is more than"),
    ("lab.toml:19", "host.process.small.veto", {"topology": 10, "guest": 7}, "processors = 2 is more than"),
    ("lab.toml:22", "host.process.small.unplug", {"topology": 10, "guest": 7}, "processors = 2 is more than"),
    ("lab.toml:22", "host.process.large.unplug", {"topology": 14, "guest": 7}, "the guest host cannot show an unplug"),
]  # fmt: skip


def matrix(text: str, base: Path = Path()) -> Matrix:
    """Decode a document that is called lab.toml."""
    return decode_matrix(text, name="lab.toml", base=base)


def test_every_wrong_point_is_said_with_its_lines() -> None:
    """In the order of the document: the plan's line, those of topology and guest, and the plan checker's words."""
    found = rehearse_matrix(matrix(LAB.format(restore="false")))
    assert [(place, point, rows, 2, True) for place, point, rows, _ in WRONG] == [
        (one.place, one.point, one.rows, one.runs, words in one.words)
        for one, (*_, words) in zip(found, WRONG, strict=True)
    ]


@pytest.mark.parametrize("restore", ["true", "false"])
@pytest.mark.parametrize("guest", ["twin", "host", "windows-11"])
def test_it_says_what_the_runs_would_say(guest: str, restore: str, tmp_path: Path) -> None:
    """Each built-in plan on each topology is wrong if, and only if, a run's request with the cell's plan and options is."""
    plans = "".join(f'[[plan]]\nplan = "{plan}"\n' for plan in built_in_plans())
    text = LAB.format(restore=restore).partition("[[guest]]")[0] + (
        f'[[guest]]\nname = "{guest}"\n[[topology]]\nname = "usual"\n[[topology]]\nname = "one"\nmax_processors = 1\n'
        f'[[topology]]\nname = "paused"\nstarted = "paused"\n{plans}'
    )
    lab = matrix(text)
    refused = set()
    for point, request in lab.requests.items():
        try:
            RunRequest(
                **vars(request.options),
                plan=decode_plan(request.text, name=point),
                cache=tmp_path,
                argv=["harness"],
            )
        except UsageError:
            refused.add(point)
    assert refused == {one.point for one in rehearse_matrix(lab)}
    assert 0 < len(refused) < len(lab.requests)


def test_a_point_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repetitions nor QEMU builds are checked again; what they say is said of each."""
    asked: list[str] = []
    check = matrix_rehearsal.check_plan

    def counted(*of: object) -> None:
        asked.append(of[0].name)  # type: ignore[attr-defined]
        check(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(matrix_rehearsal, "check_plan", counted)
    builds = "".join(f'[[qemu]]\nname = "build-{number}"\n' for number in range(50))
    found = rehearse_matrix(
        matrix(
            f'repeat = 100\n{builds}[[topology]]\nname = "small"\nmax_processors = 1\n[[plan]]\nplan = "veto"\n'
        )
    )
    assert (1, 50, {100}) == (len(asked), len(found), {one.runs for one in found})


def test_only_the_chosen_cells_count() -> None:
    """A choice without the wrong ones can be run."""
    lab = matrix(LAB.format(restore="false"))
    right = cell_choice.only(lab, "topology=large and (guest=twin or plan=veto)")
    one = cell_choice.only(lab, "topology=small and guest=twin and plan=veto and repetition=2")
    assert [] == rehearse_matrix(right)
    assert [("twin.default.small.veto", 1)] == [(wrong.point, wrong.runs) for wrong in rehearse_matrix(one)]


def test_a_plan_of_a_file_is_named_with_its_own_line(tmp_path: Path) -> None:
    """The operation that is wrong is found in the file, and the table that wants it in lab.toml."""
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[[do]]\nop = "add-cpu"\n[[do]]\nop = "add-cpu"\nslot = 7\n'
    )
    (found,) = rehearse_matrix(matrix('\n[[plan]]\nplan = "./mine.toml"\n', tmp_path))
    assert (
        f"lab.toml:3: twin.default.default.mine (1 run): {tmp_path}/mine.toml:6: do[2] (add-cpu): "
        "there is no processor slot 7: the machine's slots are 0 to 5"
    ) == str(found)


def test_a_topology_that_contradicts_a_plan_is_said_with_the_others() -> None:
    """Also where the plan's own text would be refused."""
    text = '[[plan]]\nplan = "veto"\n[[plan]]\nplan = "reset"\n[[topology]]\nname = "a"\nprocessors = 4\nmax_processors = 2\n'
    found = rehearse_matrix(matrix(text))
    assert [("lab.toml:2", {"topology": 5}), ("lab.toml:4", {"topology": 5})] == [
        (one.place, one.rows) for one in found
    ]
    assert all("machine.processors = 4 is more than max_processors, 2" in one.words for one in found)


def test_a_driver_map_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """With its own line: no run could use it."""
    (tmp_path / "map.toml").write_text("colour = 1\n")
    with pytest.raises(BadDocument, match=r"map\.toml:1: "):
        rehearse_matrix(matrix('driver_map = "./map.toml"\n[[plan]]\nplan = "veto"\n', tmp_path))


@pytest.mark.parametrize("form", [["--dry-run"], ["--once"], ["--once", "--scheduler", "tcp://127.0.0.1:1"]])
def test_nothing_starts(form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In each form of the command: 64, a message for each point, and no directory."""
    file = tmp_path / "lab.toml"
    file.write_text(LAB.format(restore="false"))
    code = main(["nightly", *form, "--lab", str(file), "--into", str(tmp_path / "kept")])
    printed = capsys.readouterr()
    messages = [line for line in printed.err.splitlines() if line.startswith("harness: ")]
    assert (64, "", False) == (code, printed.out, (tmp_path / "kept").exists())
    assert [f"harness: {tmp_path}/{place}: {point} (2 runs, " for place, point, *_ in WRONG] == [
        message[: message.index("topology in")] for message in messages[:-1]
    ]
    assert f"harness: {file}: 10 of 16 runs cannot be executed; nothing was started" == messages[-1]


def test_the_document_has_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json they are in the error, not on standard error alone."""
    file = tmp_path / "lab.toml"
    file.write_text(LAB.format(restore="false"))
    assert 64 == main(["nightly", "--dry-run", "--json", "--lab", str(file)])
    first, *lines = json.loads(capsys.readouterr().out)["error"]["message"].splitlines()
    assert ("10 of 16 runs" in first, [point for _, point, *_ in WRONG]) == (
        True,
        [line.split()[1] for line in lines],
    )


def test_all_of_many_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has its message, however many there are."""
    file = tmp_path / "lab.toml"
    rows = "".join(f'[[topology]]\nname = "t{number}"\nmax_processors = 1\n' for number in range(100))
    file.write_text(f'{rows}[[plan]]\nplan = "veto"\n')
    assert 64 == main(["nightly", "--dry-run", "--lab", str(file)])
    assert [f"twin.default.t{number}.veto" for number in range(100)] == [
        line.split()[2] for line in capsys.readouterr().err.splitlines() if "1 run, " in line
    ]


def test_one_run_is_one_run() -> None:
    """In words."""
    one = WrongPoint(point="p", place="lab.toml:1", runs=1, rows={}, words="why", hint="")
    assert "lab.toml:1: p (1 run): why" == str(one)
