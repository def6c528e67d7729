# SPDX-License-Identifier: MIT
"""What can happen in a made history, one function an action. An action that finds nothing to do does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.history.driver import Work
from harness.history.record import Clock, Console, GuestEvent, Stage
from tests.contract.reference.adding import attempt
from tests.contract.reference.devices import rebalance
from tests.contract.reference.driver import ModelDriver
from tests.contract.reference.host import HostCommand, baseline, grow, mark
from tests.contract.reference.loading import asynchronous, deregister, load, synchronous, unload
from tests.contract.reference.scenario import Scenario
from tests.contract.reference.system import Processor


def _devices(scene: Scenario) -> None:
    """A rebalance that an added processor causes, unless the devices have opted out."""
    for driver in scene.drivers:
        if driver.loaded and driver.habits.devices and not scene.opted_out and scene.chance.random() < 0.7:
            for _ in rebalance(driver, scene.gone, scene.chance):
                scene.pace(0.2)


def _announce(scene: Scenario) -> Processor:
    processor = scene.system.announce()
    scene.system.plug(processor, scene.chance.choice([1, scene.interfaces]))
    return processor


def _run(steps: Iterator[None], meanwhile: Callable[[], None] | None = None, at: int = 0) -> None:
    for place, _ in enumerate(steps):
        if meanwhile is not None and place == at:
            meanwhile()


def add(
    scene: Scenario, meanwhile: Callable[[], None] | None = None, at: int = 0, outcome: str = "added"
) -> None:
    """The host adds a processor, and the attempt ends in ``outcome``."""
    if not scene.system.room_left:
        return
    scene.retry = None
    expected = "added" if outcome == "added" else "vetoed"
    if outcome in ("hidden", "system"):
        scene.soft("a failure that no logged driver asked for")
        if scene.chance.random() < 0.3:
            expected = "added"
            scene.missing("the plan expected a processor that was not added")
    command = HostCommand(scene, "cpu", expected)
    processor = _announce(scene)
    if scene.chance.random() < 0.3:
        _devices(scene)
    scene.pace(0.5)
    _run(attempt(scene, processor, outcome), meanwhile, at)
    if outcome == "added":
        _devices(scene)
        scene.pace(1.0)
    else:
        scene.retry = None if scene.plain else processor
        if scene.chance.random() < 0.2:
            scene.soft("an arrival for a processor that was not added (X4)")
            scene.arrive("cpu", processor.links)
            scene.deliver(1.0)
    command.settle(agreed=(expected == "added") == (outcome == "added"))


def fail(scene: Scenario) -> None:
    """An add that fails: a veto, logged or not, or the system's own reason."""
    outcome = scene.chance.choice(["veto", "veto", "veto", "hidden", "hidden", "system"])
    if outcome == "veto" and not scene.registrations("sync"):
        outcome = "hidden"
    add(scene, outcome=outcome)


def untouched(scene: Scenario) -> None:
    """An add that QEMU refuses, or that the guest ignores: no driver hears of it."""
    expected = scene.chance.choice(["refused", "ignored"])
    scene.retry = None
    if expected == "ignored":
        scene.soft("an add that the guest ignored")
    HostCommand(scene, "cpu", expected).settle(quiet=expected == "ignored")


def burst(scene: Scenario) -> None:
    """Several commands before the first settles: the attempts may overlap."""
    count = min(scene.chance.randint(2, 3), scene.system.room_left)
    if count < 2 or scene.system.pending:
        return
    scene.retry = None
    if scene.interfaces > 1:
        scene.soft("several interfaces a processor, several adds at once")
    commands = [HostCommand(scene, "cpu") for _ in range(count)]
    serial = scene.chance.random() < 0.4
    if serial:
        for _ in range(count):
            _run(attempt(scene, _announce(scene), "added"))
            scene.pace(0.5)
    else:
        turns = [attempt(scene, _announce(scene), "added", alone=False) for _ in range(count)]
        while turns:
            turn = scene.chance.choice(turns)
            try:
                next(turn)
            except StopIteration:
                turns.remove(turn)
    _devices(scene)
    scene.pace(1.0)
    for place, command in enumerate(commands):
        command.settle(quiet=place == 0)


def again(scene: Scenario) -> None:
    """The system tries a failed add once more, without a command."""
    if scene.retry is None or not scene.system.room_left:
        return
    scene.soft("a failed add is tried again (U29)")
    processor = scene.system.announce()
    processor.links = scene.retry.links
    outcome = scene.chance.choice(["added", "added", "hidden", "system"])
    if scene.registrations("sync") and scene.chance.random() < 0.2:
        outcome = "veto"
    _run(attempt(scene, processor, outcome))
    if outcome == "added":
        scene.retry = None
        _devices(scene)
        scene.pace(1.0)


def quiet_again(scene: Scenario) -> None:
    """The same, and then the guest is quiet."""
    if scene.retry is not None:
        again(scene)
        scene.tape.quiet()


def dimm(scene: Scenario) -> None:
    """The host adds a DIMM, which has one interface or several."""
    command = HostCommand(scene, "dimm")
    scene.pace(0.5)
    if scene.chance.random() < 0.4:
        again(scene)
    scene.system.memory += 256 << 20
    base = len(scene.memory)
    count = scene.chance.choice([1, 1, 2, 3])
    links = [
        f"\\??\\ACPI#PNP0C80#{base + place}#{{3fd0f03d-92e0-45fb-b75c-5ed8ffb01021}}"
        for place in range(count)
    ]
    scene.memory += links
    scene.arrive("memory", links)
    scene.pace(1.0)
    grow(scene)
    command.settle()


def toggle(scene: Scenario) -> None:
    """A device is disabled and enabled again: each registration hears of both."""
    links = scene.links("cpu")
    if not links or not scene.registrations("cpu") or any(item.cls == "cpu" for item in scene.due):
        return
    link = scene.chance.choice(links)
    told = scene.registrations("cpu")
    if not scene.plain and not scene.system.pending and scene.chance.random() < 0.2:
        scene.soft("a device that had been disabled all along is enabled")
        told = [one for one in told if not one.flags]
    else:
        for one in told:
            one.driver.arrival(one, "cpu", link, "removal")
    for one in told:
        one.driver.arrival(one, "cpu", link)


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
    add(scene, lambda: (unload(scene, driver), None)[1], scene.chance.randint(0, starts))


def work(scene: Scenario) -> None:
    """Workers run on processors that run, and drivers echo a nonce."""
    for driver in _loaded(scene):
        if not driver.habits.mapped and scene.chance.random() < 0.6:
            nt = scene.chance.choice(scene.system.processors).nt
            driver.say(Work, cpu=nt, nt=nt, done=1)
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
    _boot(scene, scene.chance.choice(["guest-reset", "host-reset"]))


def reset_in_add(scene: Scenario) -> None:
    """The guest boots again between a Start and its end."""
    if not scene.system.room_left or not scene.registrations("sync"):
        return
    HostCommand(scene, "cpu")
    steps = attempt(scene, _announce(scene), "added", alone=False)
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
    "dimm": (dimm, 3), "toggle": (toggle, 1), "toggle-in-add": (toggle_in_add, 1), "come-or-go": (come_or_go, 2),
    "drop": (drop, 1), "drop-inside": (drop_inside, 1), "noise": (noise, 1), "enlist": (enlist, 1), "enlist-in-add": (enlist_in_add, 1), "drop-in-add": (drop_in_add, 1),
    "unload-in-add": (unload_in_add, 1), "work": (work, 2), "quiet": (quiet, 1), "flush": (flush, 2),
    "reset": (reset, 1), "reset-in-add": (reset_in_add, 1),
}  # fmt: skip
"""Each action and how often it is drawn."""
