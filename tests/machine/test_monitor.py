# SPDX-License-Identifier: MIT
"""The monitor's own judgement: which commands only ask, which data match, what a reply means; and what it is made of."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.errors import CommandRefused, InfrastructureError
from harness.history.writer import HistoryWriter
from harness.machine.event_log import matches
from harness.machine.monitor import Monitor, is_query, outcome

NOT_FREE = ("legacy", "qmp_shell", "qmp_tui")
"""The modules of qemu.qmp under the GPL."""

PATIENCE = 20.0
"""Seconds for a thread to connect, or to end."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("command", ["query-status", "query-hotpluggable-cpus", "qom-list", "qom-get"])
def test_what_only_asks(command: str) -> None:
    """Such a command may be sent twice."""
    assert is_query(command)


@pytest.mark.parametrize(
    "command", ["device_add", "object-add", "cont", "quit", "qom-set", "human-monitor-command"]
)
def test_what_changes_something(command: str) -> None:
    """Such a command is never sent twice unasked."""
    assert not is_query(command)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"guest": True}, True),
        ({"guest": False}, False),
        ({"info.device": "cpu2"}, True),
        ({"info.device": "cpu3"}, False),
        ({"info.device": "cpu2", "info.source": 1}, True),
        ({"info.device.name": "cpu2"}, False),
        ({"absent": None}, False),
        ({"guest.info": 1}, False),
    ],
)
def test_matches(wanted: dict[str, Any], expected: bool) -> None:
    """Every wanted value must be there; dots lead inwards."""
    assert expected is matches({"guest": True, "info": {"device": "cpu2", "source": 1}}, wanted)


@given(
    st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    st.dictionaries(st.text(max_size=8), JSON, max_size=3),
)
def test_any_data_match_or_not(data: dict[str, Any], wanted: dict[str, Any]) -> None:
    """No data that QEMU may send breaks the comparison, and data without dots in its keys matches itself."""
    assert matches(data, wanted) in (True, False)
    assert matches(data, {key: found for key, found in data.items() if "." not in key})


@given(st.dictionaries(st.sampled_from(["return", "id", "error"]), JSON))
def test_any_reply_is_an_outcome_or_a_refusal(reply: dict[str, Any]) -> None:
    """A reply without an error is its return value, one with an error, however shaped, a refusal."""
    if "error" in reply:
        with pytest.raises(CommandRefused):
            outcome("x", reply)
    else:
        assert reply.get("return") == outcome("x", reply)


def test_refusal_in_qemus_words() -> None:
    """Class and description are QEMU's."""
    with pytest.raises(CommandRefused, match="QEMU refused device_add: CPU exists") as refused:
        outcome("device_add", {"error": {"class": "GenericError", "desc": "CPU exists"}})
    assert ("device_add", "GenericError", "CPU exists") == (
        refused.value.command,
        refused.value.error_class,
        refused.value.description,
    )


def test_only_the_free_modules_of_qemu_qmp_are_loaded() -> None:
    """A process with the whole machine room loaded has none of qemu.qmp's GPL modules."""
    script = (
        "import sys, pkgutil, importlib, harness.machine as room\n"
        "for found in pkgutil.iter_modules(room.__path__, room.__name__ + '.'): importlib.import_module(found.name)\n"
        "print(*(name for name in sys.modules if name.startswith('qemu.qmp.')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "qemu.qmp.qmp_client" in loaded
    assert [] == [name for name in NOT_FREE if f"qemu.qmp.{name}" in loaded]


def test_no_source_names_the_others() -> None:
    """No module of the harness imports them either."""
    sources = sorted(Path(harness.__file__).parent.rglob("*.py"))
    assert len(sources) > 20
    for source in sources:
        text = source.read_text("utf-8")
        if "qemu" not in text or not any(name in text for name in NOT_FREE):
            # An import has the words of its names. To parse all sources takes a second.
            continue
        for node in ast.walk(ast.parse(text)):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            )
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            used = (
                [part for name in names for part in f"{module}.{name}".split(".")]
                if "qemu" in f"{module}{names}"
                else []
            )
            assert [] == [name for name in NOT_FREE if name in used], source


def test_who_is_cut_off_before_the_greeting_leaves_its_number(tmp_path: Path) -> None:
    """The monitor of a QEMU that ends may be connecting again: the next QEMU's connection gets its number."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as server, HistoryWriter(tmp_path / "history.jsonl") as writer:
        server.bind(str(path))
        server.listen()
        server.settimeout(PATIENCE)
        monitor = Monitor(path, writer, failure=InfrastructureError)
        monitor.start()
        with server.accept()[0]:
            monitor.close(PATIENCE)
        assert 1 == monitor.log.joined()
