# SPDX-License-Identifier: MIT
"""A lab.toml becomes the same plan of a nightly run every time, and what is wrong with it is said by its line."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadDocument
from harness.lab.matrix import Matrix, decode_matrix, read_matrix
from harness.run.plan import built_in_plans, decode_plan

PLANS = ("cpu-and-dimm", "veto", "reset")


def matrix(text: str, base: Path = Path()) -> Matrix:
    """Decode a document that is called lab.toml."""
    return decode_matrix(text, name="lab.toml", base=base)


def document(topologies: list[str], plans: list[tuple[str, int]], seed: int) -> str:
    """Return a document of those topologies, and plans with how often."""
    lines = [f"seed = {seed}"]
    lines += [f'[[topology]]\nname = "{name}"\nmax_processors = 6' for name in topologies]
    lines += [f'[[plan]]\nplan = "{plan}"\nrepeat = {times}' for plan, times in plans]
    return "\n".join(lines)


DOCUMENTS = st.builds(
    document,
    st.lists(st.sampled_from(["a", "b", "c"]), unique=True, min_size=1),
    st.lists(st.tuples(st.sampled_from(PLANS), st.integers(1, 3)), unique_by=lambda row: row[0], min_size=1),
    st.integers(0, 5),
)


@settings(max_examples=examples(8), deadline=None)
@given(DOCUMENTS)
def test_every_point_is_visited_before_any_is_repeated(text: str) -> None:
    """The cells are the product with the repetitions, each once, in rounds; the same text gives the same nightly run."""
    planned = matrix(text)
    topologies = [row.name for row in planned.document.topology]
    wanted = {
        f"twin.default.{topology}.{row.plan}.{number}"
        for topology in topologies
        for row in planned.document.plan
        for number in range(1, (row.repeat or 1) + 1)
    }
    assert wanted == {cell.id for cell in planned.cells}
    assert len(wanted) == len(planned.cells)
    rounds = [cell.repetition for cell in planned.cells]
    assert sorted(rounds) == rounds
    assert planned == matrix(text)
    assert len({cell.seed for cell in planned.cells}) == len(planned.cells)


def test_another_seed_is_another_order_and_other_seeds() -> None:
    """The order within a round is shuffled by the document's seed, and so are the runs' own seeds."""
    one, two = (matrix(document(["a", "b", "c"], [(plan, 1) for plan in PLANS], seed)) for seed in (1, 2))
    assert {cell.id for cell in one.cells} == {cell.id for cell in two.cells}
    assert [cell.id for cell in one.cells] != [cell.id for cell in two.cells]
    assert {cell.seed for cell in one.cells} & {cell.seed for cell in two.cells} == set()
    assert one.digest != two.digest


def test_topology_is_put_over_the_plan() -> None:
    """What a topology says wins, what it does not say stays the plan's, and the plan's name says which it is."""
    text = '[[topology]]\nname = "a"\nmax_processors = 8\n[[topology]]\nname = "b"\n[[plan]]\nplan = "veto"\n'
    planned = matrix(text)
    plans = {point: decode_plan(asked.text, name=point) for point, asked in planned.requests.items()}
    usual = built_in_plans()["veto"]
    assert (8, "veto-a") == (
        plans["twin.default.a.veto"].machine.max_processors,
        plans["twin.default.a.veto"].name,
    )
    assert (usual.machine, usual.do) == (
        plans["twin.default.b.veto"].machine,
        plans["twin.default.b.veto"].do,
    )


def test_what_is_skipped_is_left_out_with_its_reason() -> None:
    """A skip names any of the four, and all it names must match."""
    text = document(["a", "b"], [("veto", 1), ("reset", 1)], 0)
    planned = matrix(text + '\n[[skip]]\nplan = "veto"\ntopology = "b"\nwhy = "https://example.org/1"\n')
    assert [("twin.default.b.veto", "https://example.org/1")] == [(s.point, s.why) for s in planned.skipped]
    assert {"twin.default.a.veto", "twin.default.a.reset", "twin.default.b.reset"} == {
        c.point for c in planned.cells
    }


def test_guest_that_is_a_process_has_no_qemu_to_vary() -> None:
    """It is run once for all QEMU builds."""
    text = '[[guest]]\nname = "host"\n[[qemu]]\nname = "x"\n[[qemu]]\nname = "y"\n[[plan]]\nplan = "veto"\n'
    assert ["host.process.default.veto.1"] == [cell.id for cell in matrix(text).cells]


def words(planned: Matrix) -> dict[str, list[str]]:
    """The arguments of ``harness run`` for each machine of a matrix."""
    return {point.rpartition(".")[0]: request.options.words() for point, request in planned.requests.items()}


def test_options_become_the_arguments_of_each_machine(tmp_path: Path) -> None:
    """Those of the document and of the rows, without defaults; a process gets nothing that only QEMU has."""
    (tmp_path / "bios.bin").touch()
    text = (
        'accel = "tcg"\nkd = "listen"\nfirmware = "bios.bin"\ndump = "1024 MiB"\nevidence_timeout = 5\ndriver_map = ""\n'
        '[[guest]]\nname = "twin"\n[[guest]]\nname = "host"\n'
        '[[topology]]\nname = "old"\nmachine = "pc-q35-7.2"\n[[plan]]\nplan = "veto"\n'
    )
    planned = matrix(text, tmp_path)
    assert {
        "twin.default.old": [
            "--accel", "tcg", "--machine", "pc-q35-7.2", "--firmware", str(tmp_path / "bios.bin"), "--kd",
            "--evidence-timeout", "5.0", "--dump", "1 GiB", "--report-failed", "--retry",
        ],
        "host.process.old": ["--guest", "host", "--evidence-timeout", "5.0", "--report-failed", "--retry"],
    } == words(planned)  # fmt: skip


def test_options_of_windows_are_left_out_for_other_guests(tmp_path: Path) -> None:
    """As those of QEMU are for a process; what is begun with one of them is refused there in words."""
    text = (
        'dbgprint = true\nrestore = true\n[[guest]]\nname = "twin"\n[[guest]]\nname = "windows-server-2025"\n'
        '[[plan]]\nplan = "veto"\n'
    )
    assert {
        "twin.default.default": ["--restore", "--report-failed", "--retry"],
        "windows-server-2025.default.default": [
            "--guest",
            "windows-server-2025",
            "--restore",
            "--dbgprint",
            "--report-failed",
            "--retry",
        ],
    } == words(matrix(text, tmp_path))


def test_machine_that_is_skipped_may_have_any_options() -> None:
    """Only what is run is checked: a snapshot cannot be restored through libvirt."""
    text = 'restore = true\n[[qemu]]\nname = "own"\n[[qemu]]\nname = "virt"\nbackend = "libvirt"\n[[plan]]\nplan = "veto"\n'
    with pytest.raises(BadDocument, match="--restore and --backend libvirt cannot be combined"):
        matrix(text)
    planned = matrix(text + '[[skip]]\nqemu = "virt"\nwhy = "no snapshot"\n')
    assert {"twin.own.default": ["--restore", "--report-failed", "--retry"]} == words(planned)


def test_a_relative_path_in_the_same_directory_is_not_looked_up_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``./x`` beside lab.toml, which is named without a directory, is that file, and stays one for ``harness run``."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "my-qemu"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "lab.toml").write_text(
        '[[qemu]]\nname = "mine"\npath = "./my-qemu"\n[[plan]]\nplan = "veto"\n'
    )
    said = words(read_matrix(Path("lab.toml")))["twin.mine.default"]
    assert str(program) == said[said.index("--qemu") + 1]


def test_a_file_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    """The option that names another, and the page with an example."""
    with pytest.raises(BadDocument, match="No such file or directory") as caught:
        read_matrix(tmp_path / "lab.toml")
    assert "docs/lab.md" in caught.value.hint
    assert "--lab FILE" in caught.value.hint


def test_plans_are_found_beside_the_document(tmp_path: Path) -> None:
    """A relative path begins where the lab.toml lies."""
    (tmp_path / "mine.toml").write_text('name = "mine"\n[[do]]\nop = "add-cpu"\n')
    assert ["twin.default.default.mine.1"] == [
        cell.id for cell in matrix('[[plan]]\nplan = "./mine.toml"\n', tmp_path).cells
    ]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('[[plan]]\nplan = "vetto"\n', "lab.toml:2: no plan is called 'vetto'", "Did you mean 'veto'?"),
        ('repeet = 2\n[[plan]]\nplan = "veto"\n', "lab.toml:1: unknown key 'repeet'", "Did you mean 'repeat'?"),
        (
            '[[plan]]\nplan = "veto"\n\n[[guest]]\nname = "twim"\n',
            "lab.toml:5: no guest is called 'twim'",
            "Did you mean 'twin'? There are: twin, host, wine,",
        ),
        (
            '[[plan]]\nplan = "veto"\n[[qemu]]\nname = "new"\npath = "/opt/none/qemu"\n',
            "lab.toml:5: there is no program '/opt/none/qemu'",
            "PATH",
        ),
        (
            'repeat = 2\n[[plan]]\nplan = "./mine.toml"\n',
            "lab.toml:3: beside/mine.toml: No such file",
            "Relative paths begin at the directory of lab.toml.",
        ),
        (
            '[[plan]]\nplan = "veto"\n[[plan]]\nplan = "veto"\n',
            "lab.toml:4: two plan tables are called 'veto'",
            "repeat = N",
        ),
        (
            '[[plan]]\nplan = "veto"\n[[skip]]\nplan = "vetto"\nwhy = "x"\n',
            "lab.toml:4: no plan is called 'vetto'",
            "Did you mean 'veto'?",
        ),
        ('[[plan]]\nplan = "veto"\n[[skip]]\nwhy = "x"\n', "lab.toml:3: this leaves out everything", "Name a guest"),
        (
            'boot_timeout = "soon"\n[[plan]]\nplan = "veto"\n',
            "lab.toml:1: expected seconds from 1 to 604800, got 'soon'",
            "",
        ),
        (
            'seed = 1\ndriver_map = "none.toml"\n[[plan]]\nplan = "veto"\n',
            "lab.toml:2: there is no file 'beside/none.toml'",
            "",
        ),
        (
            'restore = true\nkd = "listen"\n[[plan]]\nplan = "veto"\n[[guest]]\nname = "twin"\n',
            "lab.toml:6: --restore and --kd cannot be combined",
            "Leave out --restore, or say --cold.",
        ),
        (
            '[[plan]]\nplan = "veto"\n[[qemu]]\nname = "x"\nbackend = "libvirtd"\n',
            "lab.toml:5: no backend is called 'libvirtd'",
            "Did you mean 'libvirt'?",
        ),
        ('[[plan]]\nplan = "a\\u0000.toml"\n', "beside/a\0.toml: embedded null byte", ""),
        ('qemu = []\n[[plan]]\nplan = "veto"\n', "lab.toml:1: the matrix has no runs: a list is empty", ""),
        (
            '[[plan]]\nplan = "veto"\n[[qemu]]\nname = "x"\nbackend = "libvirt"\nconnect = "qemu://[::1"\n',
            "--connect: not a URI: Invalid IPv6 URL",
            "",
        ),
        ('name = "x"\n', "lab.toml:1: the key 'plan' is missing", ""),
    ],
)  # fmt: skip
def test_mistakes_are_told_by_their_line(text: str, message: str, hint: str) -> None:
    """Each says where, what, and what to do."""
    with pytest.raises(BadDocument) as refused:
        matrix(text, Path("beside"))
    assert message in refused.value.message
    assert hint in refused.value.hint


@settings(max_examples=examples(30), deadline=None)
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_garbage_is_refused_and_never_crashes(text: str, chance: random.Random) -> None:
    """A document with a piece cut out or doubled is a document or is refused."""
    start = chance.randrange(len(text))
    end = min(len(text), start + chance.randrange(20))
    with contextlib.suppress(BadDocument):
        matrix(text[:start] + text[end:] + chance.choice(["", text[start:end]]))
