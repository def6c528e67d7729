# SPDX-License-Identifier: MIT
"""Makes histories of a Windows that keeps the contract, each with the verdict that is right for it by construction.

The expectations come from the documents alone. A plan is a seed and a list of actions, each with a seed of its own, so
that a history can be made smaller by leaving actions out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from harness.history.record import GuestEvent
from tests.contract.reference.actions import ACTIONS
from tests.contract.reference.driver import ABSENT, Habits, ModelDriver
from tests.contract.reference.host import baseline
from tests.contract.reference.loading import load, unload
from tests.contract.reference.scenario import Scenario, Story
from tests.contract.reference.system import WindowsSystem
from tests.contract.reference.tape import HistoryTape


@dataclass(frozen=True)
class HistoryPlan:
    """What is to be made: a seed for the system and its drivers, and the actions."""

    seed: int
    actions: tuple[tuple[str, int], ...]
    plain: bool = False


CLEAN = (
    "add",
    "fail",
    "burst",
    "dimm",
    "mixed",
    "come-or-go",
    "drop",
    "enlist",
    "work",
    "quiet",
    "reset",
    "toggle",
    "noise",
)
"""Actions that leave no doubt which callback belongs to which attempt."""


def drawn(seed: int, *, plain: bool = False) -> HistoryPlan:
    """The plan that a seed stands for. ``plain``: whole evidence of drivers that write everything."""
    chance = random.Random(seed)
    names = list(CLEAN if plain else ACTIONS)
    weights = [ACTIONS[name][1] for name in names]
    count = chance.randint(1, 7)
    chosen = chance.choices(names, weights, k=count)
    return HistoryPlan(seed, tuple((name, chance.getrandbits(32)) for name in chosen), plain)


def habits(chance: random.Random, name: str, *, plain: bool) -> Habits:
    """What one driver does."""
    flags = (0, 1)
    one = Habits(
        channel=chance.choice(["debugcon", "debugcon", "etw"]),
        entry=plain or chance.random() < 0.8,
        etw=chance.random() < 0.3,
        objects=chance.choice(["none", "one", "several", "upfront"]),
        binds=chance.random() < 0.4,
        sync=tuple(chance.choice(flags) for _ in range(chance.choice([0, 1, 1, 1, 1, 2, 3]))),
        cpu=tuple(chance.choice(flags) for _ in range(chance.choice([0, 1, 1, 1, 2]))),
        memory=chance.random() < 0.6,
        legacy=chance.random() < 0.2,
        same_context=chance.random() < 0.2,
    )
    if plain:
        one.sync = one.sync or (1,)
    elif chance.random() < 0.15:
        one.mapped, one.channel, one.objects, one.binds = True, "etw", "none", False
        one.calls = chance.random() < 0.5
        every = chance.random() < 0.5
        one.absent = {
            kind: [name for name in names if every or chance.random() < 0.6] for kind, names in ABSENT.items()
        }
    if not one.mapped and chance.random() < 0.25:
        one.mode, one.entry, one.cpu = "pnp", True, one.cpu[:1]
        one.devices = tuple(f"PCI\\VEN_1234&DEV_11E8#{name}{place}" for place in range(chance.randint(1, 3)))
    elif chance.random() < 0.2 and one.sync:
        one.veto = chance.choice(["null", "handle", "refused"])
    if not one.mapped and chance.random() < 0.25:
        one.sample, one.etw, one.objects = True, True, "one"
    return one


def perform(plan: HistoryPlan) -> Story:
    """Make the history of a plan."""
    chance = random.Random(plan.seed)
    tape = HistoryTape(chance, f"model-{plan.seed}")
    active = chance.randint(1, 4) if chance.random() < 0.99 else chance.randint(62, 66)
    size = chance.choice([0, 0, 0, 1, 2, 4]) if active < 60 else 0
    system = WindowsSystem(chance, active=active, maximum=active + chance.randint(1, 6), group_size=size)
    scene = Scenario(chance, tape, system)
    scene.plain = plan.plain
    scene.interfaces = chance.choice([1, 1, 2, 3])
    scene.prompt = "prompt" if plan.plain else chance.choice(["prompt"] * 7 + ["late", "late", "never"])
    for processor in system.processors:
        system.plug(processor, scene.interfaces)
    scene.memory = (
        [] if chance.random() < 0.5 else ["\\??\\ACPI#PNP0C80#boot#{3fd0f03d-92e0-45fb-b75c-5ed8ffb01021}"]
    )
    tape.boot("restored" if chance.random() < 0.1 else "power-on")
    if size:
        tape.put(GuestEvent(event="boot-option", detail=f"groupsize={size}"))
    names = "abc"[: chance.choice([1, 1, 2, 2, 3])]
    scene.drivers = [
        ModelDriver(name, habits(chance, name, plain=plan.plain), tape, system) for name in names
    ]
    if any(driver.habits.devices for driver in scene.drivers) and chance.random() < 0.3:
        scene.opted_out = True
        tape.put(GuestEvent(event="rebalance-opt-out", detail="DEVPKEY_Device_DHP_Rebalance_Policy=1"))
    for driver in scene.drivers:
        load(scene, driver)
    baseline(scene)
    for name, seed in plan.actions:
        chance.seed(seed)
        ACTIONS[name][0](scene)
    _end(scene)
    expected, why = scene.expected()
    return Story("documented", tape.records, expected, why)


def _end(scene: Scenario) -> None:
    """Tell what is due unless it never comes; unload some drivers; be quiet; close the channels."""
    if scene.prompt != "never":
        scene.deliver(1.0)
    for driver in scene.drivers:
        if driver.loaded and scene.chance.random() < 0.2:
            unload(scene, driver)
    scene.abandon(scene.due, "the run ended")
    scene.tape.quiet()
    scene.tape.close()
