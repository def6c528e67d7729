# SPDX-License-Identifier: MIT
"""The plan: what to hot-add, in which order, and with which expected outcome. A TOML file of typed
operations."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from harness.choice import suggest
from harness.config import decode_toml, line_of, read_document
from harness.errors import BadDocument, UsageError
from harness.run.operation import AddCpu, AddDimm, LoadDriver, Operation, Unplug
from harness.schema import toml_schema
from harness.size import Size

SHOWN = (
    "processors and DIMMs", "registrations", "refusals by the driver", "rebalances", "removals",
    "what gives no notification", "other boots", "migration", "faults at the wrong moment",
)  # fmt: skip
"""What the built-in plans show, in the order in which they are listed."""

MEMORY_BLOCK = 128 << 20
"""Bytes. QEMU packs DIMMs at automatic addresses; guests accept only whole, aligned 128 MiB blocks."""

OF_THE_MACHINE = (
    "processors", "max_processors", "memory", "max_memory", "dimm_slots", "nodes", "virtio_mem", "balloon", "nvdimm",
)  # fmt: skip
"""Wishes that the machine implements; the guest implements the others."""

MORE_PROCESSORS = "machine.max_processors in the plan sets how many there are."
"""The hint for too few processor slots."""


Started = Literal["running", "paused", "firmware"]


class MachineWishes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plan's requirements on its machine; every field has the guest's own default.

    ``group_size`` is a boot option of the guest: how many processors make a group. ``started`` is where the
    plan begins: with a booted guest; ``paused`` before its first instruction; or ``firmware``, stopped while
    its firmware runs. From the latter two the operation ``boot`` continues. ``virtio_mem`` is how much a
    virtio-mem device can plug; ``balloon`` and ``nvdimm`` request a balloon and a machine with NVDIMM
    support.
    """

    processors: Annotated[int, msgspec.Meta(ge=1, le=288)] | None = None
    max_processors: Annotated[int, msgspec.Meta(ge=1, le=288)] | None = None
    memory: Size | None = None
    max_memory: Size | None = None
    dimm_slots: Annotated[int, msgspec.Meta(ge=0, le=256)] | None = None
    nodes: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None
    started: Started = "running"
    group_size: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    virtio_mem: Size | None = None
    balloon: bool | None = None
    nvdimm: bool | None = None

    @property
    def said(self) -> dict[str, int]:
        """The fields of :class:`harness.machine.machine.MachineSpec` that the plan gives, sizes in bytes."""
        values = {name: getattr(self, name) for name in OF_THE_MACHINE}
        return {
            name: value if isinstance(value, bool) else int(value)
            for name, value in values.items()
            if value is not None
        }


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A plan. ``do`` is executed in order; ``driver = false`` starts without loading the driver.

    ``pnp = true`` starts with the driver installed as a Plug and Play driver. ``shows`` is its purpose in a
    few words, used to group plans.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    summary: str = ""
    shows: Annotated[str, msgspec.Meta(pattern="^.{0,60}$")] = ""
    driver: bool = True
    pnp: bool = False
    machine: MachineWishes = MachineWishes()
    do: Annotated[list[Operation], msgspec.Meta(min_length=1, max_length=10_000)]

    @property
    def origin(self) -> tuple[str, str]:
        """The source text and its name; "" for a plan that was created or changed in a program."""
        text, name = self.__dict__.get("origin", ("", ""))
        return text, name


def checked(plan: Plan, text: str, name: str) -> Plan:
    """Return ``plan``, decoded from ``text``. Raises BadDocument with file:line if no machine can execute it."""
    wishes = plan.machine

    def bad(steps: list[str | int], words: str, hint: str = "") -> BadDocument:
        return BadDocument(f"{name}:{line_of(text, steps)}: {words}", hint=hint)

    for index, operation in enumerate(plan.do):
        dimm = (
            operation
            if isinstance(operation, AddDimm) and not operation.unaligned and operation.expect != "refused"
            else None
        )
        if dimm is not None and (dimm.size == 0 or dimm.size % MEMORY_BLOCK):
            raise bad(
                ["do", index, "size"],
                f"do[{index + 1}] (add-dimm): size {dimm.size.text!r} is not a multiple of 128 MiB",
                "A size without a unit is in bytes. "
                "Such a DIMM misaligns every later one and guests reject them; unaligned = true tests just that.",
            )
        if isinstance(operation, AddDimm) and (found := _badly_made(operation)) is not None:
            key, words, hint = found
            raise bad(["do", index, key], f"do[{index + 1}] (add-dimm): {words}", hint)
        if isinstance(operation, AddCpu | AddDimm) and operation.saying and operation.expect != "refused":
            raise bad(["do", index, "saying"], f"do[{index + 1}]: 'saying' goes with expect = \"refused\"")
        if isinstance(operation, Unplug) and operation.reason and operation.expect != "refused":
            raise bad(
                ["do", index, "reason"], f"do[{index + 1}] (unplug): 'reason' goes with expect = \"refused\""
            )
        if isinstance(operation, LoadDriver) and operation.opt_out and not operation.pnp:
            raise bad(
                ["do", index, "opt_out"], f"do[{index + 1}] (load-driver): opt_out goes with pnp = true"
            )
    if plan.pnp and not plan.driver:
        raise bad(
            ["pnp"],
            "pnp = true goes with a driver that is loaded at the start",
            "Leave out driver = false, or give pnp = true to the load-driver operation.",
        )
    if wishes.processors and wishes.max_processors and wishes.processors > wishes.max_processors:
        raise bad(
            ["machine", "processors"],
            f"machine.processors = {wishes.processors} is more than max_processors = {wishes.max_processors}",
        )
    return plan


def _badly_made(dimm: AddDimm) -> tuple[str, str, str] | None:
    """Return what is wrong with what a DIMM is made of: the key, the words, and what would be right."""
    if dimm.file_size is not None and dimm.backend != "file":
        return "file_size", 'file_size goes with backend = "file"', ""
    if dimm.hugepages is None:
        return None
    page = dimm.hugepages
    if dimm.backend != "memfd":
        return "hugepages", 'hugepages goes with backend = "memfd"', "QEMU takes them from a memfd."
    if page < 1 << 16 or page & (page - 1):
        return "hugepages", f"hugepages {page.text!r} is not the size of a page", 'Give "2 MiB" or "1 GiB".'
    if dimm.size % page and dimm.expect != "refused":
        return "hugepages", f"size {dimm.size.text!r} is not a multiple of hugepages {page.text!r}", ""
    return None


def decode_plan(text: str, *, name: str) -> Plan:
    """Decode a plan. Raises BadDocument with file:line, and "Did you mean" where something is close."""
    plan = checked(decode_toml(text, Plan, name=name), text, name)
    plan.__dict__["origin"] = text, name
    return plan


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema of a plan's file."""
    return toml_schema(Plan, title="A plan of the hotplug harness")


def built_in_plans() -> dict[str, Plan]:
    """Return the plans that come with the harness, by name."""
    folder = resources.files("harness.run") / "plans"
    plans = [
        decode_plan(entry.read_text(encoding="utf-8"), name=f"plans/{entry.name}")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    ]
    return {plan.name: plan for plan in sorted(plans, key=lambda plan: plan.name)}


def _built_in(wanted: str) -> Plan | None:
    """Return the built-in plan in the file that is named as plans are, without decoding the others; None if there is none."""
    entry = resources.files("harness.run") / "plans" / f"{wanted}.toml"
    if not wanted or not entry.is_file():
        return None
    plan = decode_plan(entry.read_text(encoding="utf-8"), name=f"plans/{entry.name}")
    return plan if plan.name == wanted else None


def grouped(plans: Iterable[Plan]) -> dict[str, list[Plan]]:
    """Return plans by what they show: the built-in plans' groups in their order, then others, the empty one last."""
    found: dict[str, list[Plan]] = {shown: [] for shown in SHOWN}
    for plan in plans:
        found.setdefault(plan.shows, []).append(plan)
    if nothing := found.pop("", []):
        found[""] = nothing
    return {shown: group for shown, group in found.items() if group}


def find_plan(wanted: str) -> Plan:
    """Return the built-in plan or the plan in the file called ``wanted``.

    Something with a slash or ending in ``.toml`` is a file. Raises UsageError naming the plans that exist.
    """
    if "/" in wanted or wanted.endswith(".toml"):
        return decode_plan(read_document(Path(wanted)), name=wanted)
    if (plan := _built_in(wanted)) is not None:
        return plan
    plans = built_in_plans()
    if wanted in plans:
        return plans[wanted]
    if not wanted:
        raise UsageError(
            "no plan was named", hint=f"There are: {', '.join(plans)}; or give a file, ./mine.toml"
        )
    raise UsageError(
        f"no plan is called {wanted!r}",
        hint=f"{suggest(wanted, plans)} A file of your own is given as ./{wanted}.toml",
    )
