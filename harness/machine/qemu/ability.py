# SPDX-License-Identifier: MIT
"""The abilities of a QEMU program, asked of the program itself without a guest. So a migration to a QEMU that cannot
build the same machine is refused before the guest boots.

QEMU takes a state only into the same versioned machine type with the same devices (QEMU: docs/devel/migration). It would
accept a processor with another feature set, and the guest would miss features that it had found.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.machine import devices
from harness.machine.machine import MachineSpec
from harness.program import run_program

SHOWN = 5
"""Processor features that are named. Two very different QEMUs differ in dozens."""


class QemuAbility(msgspec.Struct, frozen=True, kw_only=True):
    """Machine types by their names and aliases, each with its versioned name; device types; the processor's features."""

    boards: dict[str, str]
    devices: set[str]
    processor: dict[str, Any]


def ask(qemu: Path, spec: MachineSpec, deadline: Deadline) -> QemuAbility:
    """Ask ``qemu`` for its abilities. Raises InfrastructureError if its answer is not QEMU's."""
    model, _, properties = devices.processor_model(spec).partition(",")
    wanted = {
        word.lstrip("+-").partition("=")[0]: not word.startswith("-")
        for word in properties.split(",")
        if word
    }
    asked = [
        {"execute": "qmp_capabilities"},
        {"execute": "query-machines"},
        {"execute": "qom-list-types", "arguments": {"implements": "device", "abstract": False}},
        {
            "execute": "query-cpu-model-expansion",
            "arguments": {"type": "full", "model": {"name": model, "props": wanted}},
        },
        {"execute": "quit"},
    ]
    command: list[str | Path] = [
        qemu, "-nodefaults", "-no-user-config", "-display", "none", "-S", "-machine", "none", "-accel", spec.accelerator,
        "-qmp", "stdio",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as questions:
        questions.write(b"".join(msgspec.json.encode(one) for one in asked))
        questions.seek(0)
        answered = run_program(command, deadline, data=questions, apart=True)
    replies: list[dict[str, Any]] = []
    for line in answered.output.splitlines():
        try:
            message = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            continue
        if "return" in message or "error" in message:
            replies.append(message)
    try:
        boards, types, processor = (reply["return"] for reply in replies[1:4])
        return QemuAbility(
            boards={
                name: row["name"]
                for row in boards
                for name in (row["name"], row.get("alias"))
                if name is not None
            },
            devices={row["name"] for row in types},
            processor=processor["model"]["props"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InfrastructureError(
            f"{qemu} does not say what it can build: {answered.failure()}",
            hint="Is it QEMU's system emulator, with the accelerator that the guest has?",
        ) from error


def unmovable(spec: MachineSpec) -> str:
    """Return why no QEMU can take over a guest on the machine ``spec``, "" if no reason is known."""
    if any(disk.bus == "nvme" for disk in spec.disks):
        # QEMU: hw/nvme/ctrl.c, nvme_vmstate, "unmigratable".
        return "it has an NVMe disk, whose state QEMU does not send"
    if any(word.partition(",")[0] == "edu" for word in spec.extra):
        # QEMU: hw/misc/edu.c, no vmsd: it would be sent, and arrive without its registers' place.
        return "it has the device of the driver's Plug and Play package (edu), whose state QEMU does not send"
    return ""


def difference(spec: MachineSpec, here: QemuAbility, there: QemuAbility) -> str:
    """Return why a guest on the machine ``spec`` cannot continue in the other QEMU, "" if no reason is known."""
    nowhere = Path("nowhere")
    files = devices.ChannelFiles.within(nowhere)
    used = devices.arguments(spec, name="", files=files, qmp=nowhere)
    wanted = spec.machine.partition(",")[0]
    board = here.boards.get(wanted, wanted)
    if board not in there.boards:
        return f"it has no machine type {board!r}"
    types = {following.partition(",")[0] for word, following in pairwise(used) if word == "-device"} | {
        "pc-dimm"
    }
    if missing := sorted(types - there.devices):
        return f"it has no device {', '.join(missing)}"
    model = devices.processor_model(spec).partition(",")[0]
    differ = _features(here.processor, there.processor)
    if differ:
        more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
        return f"its processor {model!r} differs in {', '.join(differ[:SHOWN])}{more}"
    return ""


def _features(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
