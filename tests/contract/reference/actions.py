# SPDX-License-Identifier: MIT
"""What can happen in a made history, one function an action. An action that finds nothing to do does nothing."""

from __future__ import annotations

from collections.abc import Callable

from harness.history.driver import Work
from harness.history.record import Clock, Console, Expectation, GuestEvent, Stage
from tests.contract.reference.actions_adding import (
    add,
    again,
    announce,
    burst,
    dimm,
    fail,
    mixed,
    untouched,
)
from tests.contract.reference.adding import attempt
from tests.contract.reference.driver import ModelDriver
from tests.contract.reference.host import HostCommand, baseline, mark
from tests.contract.reference.loading import asynchronous, deregister, load, synchronous, unload
from tests.contract.reference.scenario import Scenario


def quiet_again(scene: Scenario) -> None:
    """The same, and then the guest is quiet."""
    if scene.retry is not None:
        again(scene)
        scene.tape.quiet()


def toggle(scene: Scenario) -> None:
    """A device is disabled and enabled again: each registration hears of both."""
    cls = scene.chance.choice(["cpu", "cpu", "memory"])
    links = scene.links(cls)
    if not links or not scene.registrations(cls) or any(item.cls == cls for item in scene.due):
        return
    link = scene.chance.choice(links)
    told = scene.registrations(cls)
    if not scene.plain and not scene.system.pending and scene.chance.random() < 0.2:
        scene.soft("a device that had been disabled all along is enabled")
        told = [one for one in told if not one.flags]
    else:
        for one in told:
            one.driver.arrival(one, cls, link, "removal")
    for one in told:
        one.driver.arrival(one, cls, link)


def toggle_in_add(scene: Scenario) -> None:
    """A device is disabled and enabled again while a processor is added."""
    scene.soft("a device was disabled and enabled during an add")
    add(scene, lambda: toggle(scene), scene.chance.randrange(3))


def drop_inside(scene: Scenario) -> None:
    """A driver unregisters while its notification callback is under way, in the callback or beside it (B14)."""
    links = scene.links("cpu")
    found = [one for one in scene.registrations("cpu") if one.driver.habits.mode == "nonpnp"]
    if not links or not found or any(item.cls == "cpu" for item in scene.due):
        return
    one, link = scene.chance.choice(found), scene.chance.choice(links)
    for other in scene.registrations("cpu"):
        other.driver.arrival(other, "cpu", link, "removal")
    one.driver.arrival(one, "cpu", link, meanwhile=lambda: deregister(scene, one))
    for other in scene.registrations("cpu"):
        other.driver.arrival(other, "cpu", link)


def noise(scene: Scenario) -> None:
    """The host writes of other things."""
    put = scene.tape.put
    put(Stage(name="twin", phase="note", detail="something"))
    put(Console(text="a warning", severity="warning"))
    put(GuestEvent(event="ready", detail="guest=twin"))
    put(Expectation(index=7, demanded="dimms = 0", seen="dimms = 0", met=True))
    put(Clock(domain=f"qpc/{scene.tape.nonce}", hz=10_000_000))


def _loaded(scene: Scenario) -> list[ModelDriver]:
    return [driver for driver in scene.drivers if driver.loaded]


def come_or_go(scene: Scenario) -> None:
    """A driver is unloaded, or one that is not loaded is loaded (again)."""
    driver = scene.chance.choice(scene.drivers)
    (unload if driver.loaded else load)(scene, driver)
    scene.tape.quiet()


def drop(scene: Scenario) -> None:
    """A driver withdraws one registration and stays."""
    driver = scene.chance.choice(scene.drivers)
    alive = [one for one in driver.registrations if one.alive]
    if driver.habits.mode == "nonpnp" and alive and driver.loaded:
        one = scene.chance.choice(alive)
        deregister(scene, one)
        for nt in list(one.objects):
            driver.free(one, nt)


def enlist(scene: Scenario) -> None:
    """A driver that runs makes one more registration."""
    driver = scene.chance.choice(scene.drivers)
    if driver.loaded and driver.habits.mode == "nonpnp" and not driver.habits.sample:
        if scene.chance.random() < 0.5:
            synchronous(scene, driver, scene.chance.randrange(2))
        else:
            asynchronous(scene, driver, "cpu", scene.chance.randrange(2))


def enlist_in_add(scene: Scenario) -> None:
    """A registration is made, or a driver loaded, while an add is under way (A31, ADDEX-RACE)."""
    scene.soft("a registration made during an attempt (A31)")
    idle = [driver for driver in scene.drivers if not driver.loaded]
    if idle and scene.chance.random() < 0.6:
        add(scene, lambda: load(scene, idle[0]), scene.chance.randrange(6))
    else:
        add(scene, lambda: enlist(scene), scene.chance.randrange(6))


def drop_in_add(scene: Scenario) -> None:
    """A driver deregisters while an add is under way: its Complete still comes, or not (A30)."""
    scene.soft("a registration withdrawn during an attempt (A30)")
    outcome = scene.chance.choice(["added", "added", "system"])
    add(scene, lambda: drop(scene), scene.chance.randrange(6), outcome)


def unload_in_add(scene: Scenario) -> None:
    """A driver is unloaded at once, between its Start and its end."""
    drivers = [driver for driver in _loaded(scene) if driver.alive("sync") and driver.habits.mode == "nonpnp"]
    if not drivers or not scene.system.room_left:
        return
    driver = scene.chance.choice(drivers)
    starts = sum(one.driver.loaded for one in scene.registrations("sync"))
    scene.soft("a driver was unloaded during an attempt")
    add(scene, lambda: unload(scene, driver), scene.chance.randint(0, starts))


def work(scene: Scenario) -> None:
    """Workers run on processors that run, and drivers echo a nonce."""
    for driver in _loaded(scene):
        if not driver.habits.mapped and scene.chance.random() < 0.6:
            nt = scene.chance.choice(scene.system.processors).nt
            driver.say(Work, cpu=nt, nt=nt, done=1, irql=scene.chance.choice([0, 0, 2]))
    mark(scene)


def quiet(scene: Scenario) -> None:
    """Nothing happens for a while."""
    scene.tape.quiet()


def flush(scene: Scenario) -> None:
    """What is due arrives now, after everything settled."""
    if scene.due:
        scene.deliver(scene.chance.choice([0.5, 1.0]))


def reset(scene: Scenario) -> None:
    """The guest boots again: a boot record, a new nonce, and drivers that register anew."""
    _boot(scene, scene.chance.choice(["guest-reset", "host-reset", "restored"]))


def reset_in_add(scene: Scenario) -> None:
    """The guest boots again between a Start and its end."""
    if not scene.system.room_left or not scene.registrations("sync"):
        return
    HostCommand(scene, "cpu")
    steps = attempt(scene, announce(scene), "added", alone=False)
    next(steps)
    steps.close()
    scene.missing("the guest was reset during an attempt")
    _boot(scene, "guest-reset")


def _boot(scene: Scenario, cause: str) -> None:
    scene.abandon(scene.due, "the guest was reset")
    scene.due.clear()
    scene.open.clear()
    scene.told.clear()
    scene.retry = None
    scene.system.pending.clear()
    scene.system.counted_early.clear()
    scene.gone.clear()
    scene.tape.boot(cause)
    for driver in scene.drivers:
        again_loaded = driver.loaded or scene.chance.random() < 0.3
        driver.seq = driver.made = 0
        driver.registrations.clear()
        driver.bound.clear()
        driver.loaded = False
        if again_loaded:
            load(scene, driver)
    baseline(scene)


ACTIONS: dict[str, tuple[Callable[[Scenario], None], int]] = {
    "add": (add, 8), "fail": (fail, 4), "untouched": (untouched, 1), "burst": (burst, 2), "again": (quiet_again, 2),
    "dimm": (dimm, 3), "mixed": (mixed, 1), "toggle": (toggle, 1), "toggle-in-add": (toggle_in_add, 1), "come-or-go": (come_or_go, 2),
    "drop": (drop, 1), "drop-inside": (drop_inside, 1), "noise": (noise, 1), "enlist": (enlist, 1), "enlist-in-add": (enlist_in_add, 1), "drop-in-add": (drop_in_add, 1),
    "unload-in-add": (unload_in_add, 1), "work": (work, 2), "quiet": (quiet, 1), "flush": (flush, 2),
    "reset": (reset, 1), "reset-in-add": (reset_in_add, 1),
}  # fmt: skip
"""Each action and how often it is drawn."""
