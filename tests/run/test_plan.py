# SPDX-License-Identifier: MIT
"""Plans: what decodes, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import decode_toml, from_plain, read_document, to_plain
from harness.errors import BadDocument, ExitCode, UsageError
from harness.run.operation import AddCpu, AddDimm
from harness.run.plan import Plan, built_in_plans, decode_plan, find_plan
from harness.size import Size

GOOD = (
    'name = "mine"\n\n[[do]]\nop = "add-cpu"\nslot = 3\n\n[[do]]\nop = "add-dimm"\nsize = "1 GiB"\nnode = 0\n'
)


def test_plan_decodes_into_typed_operations() -> None:
    """A plan's tables become the operations they name."""
    assert decode_plan(GOOD, name="p.toml").do == [AddCpu(slot=3), AddDimm(size=Size("1 GiB"), node=0)]


def test_every_built_in_plan_decodes() -> None:
    """The plans that come with the harness decode and say what they are for."""
    plans = built_in_plans()
    assert {"cpu-and-dimm", "veto", "reload", "burst", "reset"} <= set(plans)
    assert [plan.name for plan in plans.values() if not plan.summary] == []


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            'name="a"\n\n[[do]]\nop="add-cpu"\nslto=3\n',
            "p.toml:5: unknown key 'slto'",
            "Did you mean 'slot'?",
        ),
        (
            'name="a"\nmashine=3\n[[do]]\nop="reset"',
            "p.toml:2: unknown key 'mashine'",
            "Did you mean 'machine'?",
        ),
        (
            'name="a"\n[machine]\nprocesors=2\n[[do]]\nop="reset"\n',
            "p.toml:3: unknown key 'procesors'",
            "'processors'",
        ),
        (
            'name="a"\n[[do]]\nop="add-cup"\n',
            "p.toml:3: do[1].op: 'add-cup' is not one of its values",
            "'add-cpu'",
        ),
        (
            'name="a"\n[[do]]\nop="add-cpu"\nexpect="aded"',
            "p.toml:4: do[1].expect: 'aded' is not one of its values",
            "'added'",
        ),
        (
            'name="a"\n[[do]]\nop="add-cpu"\nslot=-1',
            "p.toml:4: do[1].slot: expected a whole number of at least 0, got -1",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="add-dimm"\nsize="1 GiB"\nhugepages="2 MiB"',
            'p.toml:5: do[1] (add-dimm): hugepages goes with backend = "memfd"',
            "memfd",
        ),
        (
            'name="a"\n[[do]]\nop="add-dimm"\nsize="1 GiB"\nbackend="memfd"\nhugepages="3 MiB"',
            "p.toml:6: do[1] (add-dimm): hugepages '3 MiB' is not the size of a page",
            "1 GiB",
        ),
        (
            'name="a"\n[[do]]\nop="add-dimm"\nsize="128 MiB"\nbackend="memfd"\nhugepages="1 GiB"',
            "p.toml:6: do[1] (add-dimm): size '128 MiB' is not a multiple of hugepages '1 GiB'",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="add-dimm"\nsize="1 GiB"\nfile_size="1 MiB"',
            'p.toml:5: do[1] (add-dimm): file_size goes with backend = "file"',
            "",
        ),
        (
            'name="a"\n[[do]]\nop="add-dimm"\nsize="1 GiB"\nbackend="/etc/passwd"',
            "p.toml:5: do[1].backend: '/etc/passwd' is not one of its values",
            "memfd",
        ),
        ('name="a"\ndo=[]', "p.toml:2: do: expected a list of at least 1 entry", ""),
        (
            'name="a"\n[[do]]\nop="add-dimm"\nsize="100 MiB"',
            "p.toml:4: do[1] (add-dimm): size '100 MiB'",
            "unaligned",
        ),
        (
            'name="a"\n[[do]]\nop="add-dimm"\nsize="1 GB"',
            "p.toml:4: do[1].size: expected a size like \"256 MiB\", got '1 GB'",
            "",
        ),
        (
            'name="a"\n[machine]\nmemory=64\n[[do]]\nop="reset"',
            'p.toml:3: machine.memory: expected a size like "256 MiB", got 64',
            "",
        ),
        ('name=3\n[[do]]\nop="reset"', "p.toml:1: name: expected text in quotes, got 3", ""),
        (
            'name="a"\n[[do]]\nop="add-cpu"\nslot=1.5',
            "p.toml:4: do[1].slot: expected a whole number, got 1.5",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="add-cpu"\nslot={a=1}',
            "p.toml:4: do[1].slot: expected a whole number, got a table",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="add-cpu"\nsettle=1',
            "p.toml:4: do[1].settle: expected true or false, got 1",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="add-cpu"\ntimeout=0',
            "p.toml:4: do[1].timeout: expected a number greater than 0, got 0",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="add-cpu"\ntimeout=inf',
            "p.toml:4: do[1].timeout: expected a number of at most 3600, got inf",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="reset"\n[machine]\nnodes=true',
            "p.toml:5: machine.nodes: expected a whole number, got true",
            "",
        ),
        ('name="a"\ndo=[3]', "p.toml:2: do[1]: expected a table, got 3", ""),
        ('name="a"\n[[do]]\nop="add-dimm"', "p.toml:2: do[1]: the key 'size' is missing", ""),
        ('name="a"\n[[do]]\nslot=1', "p.toml:2: do[1]: the key 'op' is missing", ""),
        (
            'name="a"\n[[do]]\nop="load-driver"\ndriver="X Y"',
            "p.toml:4: do[1].driver: expected text in quotes that matches ^[a-z]",
            "",
        ),
        (
            'name=2026-01-01\n[[do]]\nop="reset"',
            "p.toml:1: name: expected text in quotes, got 2026-01-01",
            "",
        ),
        ('name="a"\n[[do]]\nop="add-cpu"\nsaying="x"', "p.toml:4: do[1]: 'saying' goes with", ""),
        (
            'name="a"\n[[do]]\nop="unplug"\ndevice="x"\nreason="busy"',
            "p.toml:5: do[1] (unplug): 'reason' goes with",
            "",
        ),
        ('name="a"\n[[do]]\nop="unplug"\ndevice="x"\nexpect="vetoed"', "p.toml:5", ""),
        ('name="a"\n[[do]]\nop="unplug"', "p.toml:2", ""),
        ('name="a"\n[[do]]\nop="answer-unplugs"\nby="take"', "p.toml:4", ""),
        ('name="a"\n[[do]]\nop="answer-unplugs"\nby="give"\nlate=601', "p.toml:5", ""),
        ('name="a"\n[machine]\nstarted="off"\n[[do]]\nop="boot"', "p.toml:3", ""),
        (
            'name="a"\n[machine]\nprocessors=4\nmax_processors=2\n[[do]]\nop="reset"',
            "p.toml:3: machine.processors",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="load-driver"\nopt_out=true\n',
            "p.toml:4: do[1] (load-driver): opt_out goes with pnp = true",
            "",
        ),
        (
            'name="a"\n[[do]]\nop="load-driver"\nveto=-1\n',
            "p.toml:4: do[1].veto: expected a whole number of at least 0",
            "",
        ),
        (
            'name="a"\ndriver=false\npnp=true\n[[do]]\nop="reset"',
            "p.toml:3: pnp = true goes with",
            "load-driver",
        ),
        ("name=", "p.toml:1: not TOML", ""),
        ('name="a"\nname="b"', "p.toml:2: not TOML", ""),
        ("x=" + "[" * 5000, "p.toml:1: not TOML", ""),
    ],
)
def test_mistake_is_named_with_its_line(text: str, message: str, hint: str) -> None:
    """A mistake in a plan is refused with file:line, what is wrong and what was probably meant."""
    with pytest.raises(BadDocument) as raised:
        decode_plan(text, name="p.toml")
    assert raised.value.message.startswith(message)
    assert hint in raised.value.hint
    assert raised.value.exit_code is ExitCode.USAGE


def test_unknown_plan_names_those_that_exist() -> None:
    """A plan that does not exist is refused with a guess and the list."""
    with pytest.raises(UsageError, match="no plan is called 'cpu-dimm'") as raised:
        find_plan("cpu-dimm")
    assert raised.value.hint.startswith("Did you mean 'cpu-and-dimm'?")


def test_no_plan_at_all_names_those_that_exist() -> None:
    """Without a plan the message lists the plans, instead of quoting nothing."""
    with pytest.raises(UsageError, match="no plan was named") as raised:
        find_plan("")
    assert "cpu-and-dimm" in raised.value.hint


def test_plan_file_that_is_not_there(tmp_path: Path) -> None:
    """A plan file that does not exist is named."""
    with pytest.raises(BadDocument, match=r"nosuch\.toml: No such file"):
        find_plan(str(tmp_path / "nosuch.toml"))


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"\xff\xfe\x00", "UTF-16 text, and TOML is UTF-8"), (b"\xff\x00", "not UTF-8 text")],
)
def test_binary_plan_file(tmp_path: Path, data: bytes, words: str) -> None:
    """A file that is no text is refused, not decoded into something."""
    (tmp_path / "p.toml").write_bytes(data)
    with pytest.raises(BadDocument, match=words) as caught:
        read_document(tmp_path / "p.toml")
    assert caught.value.hint.startswith("Save it as UTF-8")


def test_a_byte_order_mark_is_no_part_of_a_plan(tmp_path: Path) -> None:
    """Notepad writes one in front of UTF-8 text."""
    (tmp_path / "p.toml").write_bytes(b'\xef\xbb\xbfname = "a"\n')
    assert read_document(tmp_path / "p.toml") == 'name = "a"\n'


@given(text=st.text(max_size=200))
def test_any_text_decodes_or_is_refused(text: str) -> None:
    """Any text is a plan or a BadDocument, never another exception."""
    message = "p.toml:"
    try:
        decode_plan(text, name="p.toml")
    except BadDocument as error:
        message = error.message
    assert message.startswith("p.toml:")


_VALUES = st.recursive(
    st.one_of(st.integers(), st.text(max_size=5).map(repr), st.booleans().map(lambda b: str(b).lower())),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(map(str, items))}]"),
    max_leaves=4,
)


@given(
    tables=st.lists(
        st.tuples(
            st.sampled_from(["[[do]]", "[machine]", "[[do]]\n", "[do]"]),
            st.dictionaries(
                st.sampled_from(["op", "slot", "size", "expect", "name", "nodes", "zzz"]), _VALUES, max_size=4
            ),
        ),
        max_size=4,
    )
)
def test_any_shape_of_tables_is_explained(tables: list[tuple[str, dict[str, object]]]) -> None:
    """A plan-like document of any shape decodes or is refused with a line that exists in it."""
    text = 'name = "n"\n' + "".join(
        header + "\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for header, keys in tables
    )
    try:
        decode_plan(text, name="p.toml")
    except BadDocument as error:
        line = int(error.message.split(":")[1])
        assert 1 <= line <= text.count("\n") + 1


@given(
    number=st.integers(min_value=0, max_value=10**6),
    unit=st.sampled_from(["", "B", "KiB", "MiB", "GiB", "TiB"]),
)
def test_sizes_are_exact(number: int, unit: str) -> None:
    """A size is its number times its binary unit."""
    power = {"": 0, "B": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}[unit]
    assert Size(f"{number} {unit}") == number * 1024**power


@given(number=st.integers(min_value=0, max_value=1 << 50))
def test_size_reads_its_own_text(number: int) -> None:
    """A size is written in the largest unit that fits, and read back exactly."""
    assert (number, number) == (int(Size(Size(f"{number} B").text)), int(Size(f"{number}")))


def test_sizes_of_a_plan_are_written_as_people_write_them() -> None:
    """A plan in run.json or in a history has its sizes as text, which are numbers once they are read."""
    plan = decode_plan('name = "p"\n[machine]\nmemory = "512 MiB"\n' + GOOD.partition("\n")[2], name="p.toml")
    plain = to_plain(plan)
    assert ("512 MiB", "1 GiB") == (plain["machine"]["memory"], plain["do"][1]["size"])
    assert (plan, 512 << 20) == (from_plain(plain, Plan), from_plain(plain, Plan).machine.memory)


def test_decoding_names_the_document() -> None:
    """The document's name stands in front of every message."""
    with pytest.raises(BadDocument, match=r"lab\.toml:1: "):
        decode_toml("do = 1", Plan, name="lab.toml")
