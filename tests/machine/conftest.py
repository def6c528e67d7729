# SPDX-License-Identifier: MIT
"""Fixtures for tests of one machine: real QEMU under TCG, each machine closed when its test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from part_markers import needs

from harness.deadline import Deadline
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.host.registry import Registry
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine

MakeMachine = Callable[..., QemuMachine]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves anything in the user's own registry."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def deadline() -> Deadline:
    """More than any of these tests takes on a busy host."""
    return Deadline(60, "test")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[HistoryWriter]:
    """The history of the test."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        yield writer


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry of the test's own."""
    return Registry(tmp_path / "registry")


@pytest.fixture
@needs("qemu")
def make_machine(tmp_path: Path, writer: HistoryWriter, registry: Registry) -> Iterator[MakeMachine]:
    """Make machines, not yet started; keywords are those of MachineSpec."""
    machines: list[QemuMachine] = []

    def make(directory: Path | None = None, **fields: Any) -> QemuMachine:
        spec = MachineSpec(
            **{"accelerator": "tcg", "qemu": qemu_build.find_program(), "memory": 128 << 20, **fields}
        )
        machine = QemuMachine(
            spec, directory or tmp_path / "run", writer, name=f"test{len(machines)}", registry=registry
        )
        machines.append(machine)
        return machine

    yield make
    for machine in machines:
        machine.close()
