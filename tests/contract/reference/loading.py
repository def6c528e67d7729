# SPDX-License-Identifier: MIT
"""Loading and unloading of drivers, and the rounds over existing processors and interfaces."""

from __future__ import annotations

from functools import partial

from harness.history.driver import COMPLETE, FAILURE, START, Bind, Hello
from harness.history.record import Mapped, Profile
from tests.contract.reference.devices import remove, start
from tests.contract.reference.driver import ERRORS, ModelDriver, ModelRegistration
from tests.contract.reference.scenario import Scenario

PROVIDER = "{6a0b7b11-5c3e-4d52-9a3e-0f5d2c1b7e01}"


def load(scene: Scenario, driver: ModelDriver) -> None:
    """Load a driver: it registers, is told of what exists, and DriverEntry succeeds or fails."""
    habits, chance = driver.habits, scene.chance
    if driver.name not in scene.introduced:
        scene.introduced.add(driver.name)
        if habits.mapped:
            scene.tape.put(Mapped(driver=driver.name, provider=PROVIDER, absent=habits.absent))
            scene.soft("a mapped driver")
        if habits.sample:
            scene.tape.put(Profile(driver=driver.name, promises="sample"))
    driver.loaded = True
    driver.say(Hello, version="1.0", hz=10_000_000, ring=1024, mode=habits.mode)
    traced = driver.call("etw_reg") if habits.etw else 0
    driver.called("etw_reg", traced)
    entry = driver.call("driver_entry")
    status = 0
    if habits.mode == "pnp":
        driver.called("driver_entry", entry)
        for device in habits.devices:
            scene.gone.discard((driver.name, device))
            start(driver, device, partial(_in_device, scene, driver, device))
    else:
        status = register(scene, driver)
        driver.called("driver_entry", entry, result=status)
    if status:
        driver.loaded = False
        if habits.etw:
            driver.called("etw_unreg", driver.call("etw_unreg"))
    elif habits.binds and not any(habits.sync) and chance.random() < 0.4:
        for processor in scene.system.processors:
            if processor.nt not in driver.bound:
                driver.bound.add(processor.nt)
                driver.say(
                    Bind, what="thread", nt=processor.nt, group=processor.group, number=processor.number
                )


def _in_device(scene: Scenario, driver: ModelDriver, device: str) -> None:
    """SelfManagedIoInit: the first device makes all registrations, each further one those for arrivals."""
    if device == driver.habits.devices[0]:
        register(scene, driver, device)
    else:
        for flags in driver.habits.cpu[:1]:
            asynchronous(scene, driver, "cpu", flags, device)


def register(scene: Scenario, driver: ModelDriver, device: str = "") -> int:
    """Make the registrations of a driver, and return what its DriverEntry returns."""
    habits, chance = driver.habits, scene.chance
    wanted = [("sync", flags) for flags in habits.sync] + [("cpu", flags) for flags in habits.cpu]
    wanted += [("memory", chance.randrange(2))] if habits.memory else []
    if chance.random() < 0.2:
        chance.shuffle(wanted)
    for kind, flags in wanted:
        if kind != "sync":
            asynchronous(scene, driver, kind, flags, device)
        elif not synchronous(scene, driver, flags):
            if not habits.entry or not habits.calls:
                scene.soft("DriverEntry was not recorded")
            withdraw(scene, driver)
            return chance.choice(ERRORS)
    if habits.mode == "nonpnp" and chance.random() < 0.03:
        withdraw(scene, driver)
        return chance.choice(ERRORS)
    return 0


def synchronous(scene: Scenario, driver: ModelDriver, flags: int) -> bool:
    """Register for the synchronous notification; False if the driver gives up for that."""
    one = driver.new("sync", flags)
    veto = driver.habits.veto
    driver.habits.veto = ""
    if driver.habits.objects == "upfront":
        for nt in range(scene.system.maximum):
            driver.allocate(one, nt, 1)
    enter = driver.call("reg_sync", reg=one.number, flags=flags, ctx=one.ctx)
    vetoed = False
    if flags and veto != "refused":
        vetoed = existing(scene, one, veto=veto in ("null", "handle"))
    null = veto == "refused" or (vetoed and veto == "null")
    one.alive, one.refused = not null, null
    driver.called("reg_sync", enter, reg=one.number, handle=int(not null))
    if null or (vetoed and scene.chance.random() < 0.7):
        if one.alive:
            deregister(scene, one)
        for nt in list(one.objects):
            driver.free(one, nt)
        return not null and (driver.habits.mode == "pnp" or scene.chance.random() < 0.5)
    return True


def existing(scene: Scenario, one: ModelRegistration, *, veto: bool) -> bool:
    """The round over the active processors: Starts, then Completes; or Failures behind an error."""
    driver, chance = one.driver, scene.chance
    order = list(scene.system.processors)
    if chance.random() < 0.5:
        chance.shuffle(order)
    last = chance.randrange(len(order)) if veto else len(order)
    scene.called += 1
    for place, processor in enumerate(order[: last + 1]):
        entered = driver.enter(one, START, processor)
        mine = driver.per_start()
        driver.allocate(one, processor.nt, mine)
        if place == last:
            if mine:
                driver.free(one, processor.nt)
            driver.leave(one, START, processor, entered, op=chance.choice(ERRORS))
        else:
            driver.leave(one, START, processor, entered, op=0)
    state, told = (FAILURE, order[:last]) if veto else (COMPLETE, order)
    if chance.random() < 0.5:
        chance.shuffle(told)
    for processor in told:
        status = chance.choice(ERRORS) if veto else 0
        entered = driver.enter(one, state, processor, status=status)
        if veto and driver.habits.objects != "upfront":
            driver.free(one, processor.nt)
        if not veto:
            driver.bind(processor)
        driver.leave(one, state, processor, entered, op=0, status=status)
    return veto


def asynchronous(scene: Scenario, driver: ModelDriver, kind: str, flags: int, device: str = "") -> None:
    """Register for the arrivals of a class; with the flag each existing interface is told once or twice."""
    one = driver.new(kind, flags, device)
    enter = driver.call("reg_async", reg=one.number, flags=flags, cls=kind)
    links = scene.links(kind) if flags else []
    links += [link for link in links if scene.chance.random() < 0.2]
    within = scene.chance.random() < 0.7
    one.alive = True
    for link in links if within else []:
        driver.arrival(one, kind, link)
    driver.called("reg_async", enter, reg=one.number, handle=1)
    for link in [] if within else links:
        driver.arrival(one, kind, link)


def deregister(scene: Scenario, one: ModelRegistration) -> None:
    """Withdraw one registration."""
    driver = one.driver
    call = "dereg_sync" if one.kind == "sync" else ("unreg_old" if driver.habits.legacy else "unreg_ex")
    fields = {} if one.kind == "sync" else {"cls": one.kind}
    enter = driver.call(call, reg=one.number, **fields)
    one.alive = False
    if one.kind != "sync":
        scene.forget(one)
    driver.called(call, enter, reg=one.number)
    if call == "unreg_old" and scene.links(one.kind) and scene.chance.random() < 0.2:
        driver.arrival(one, one.kind, scene.chance.choice(scene.links(one.kind)), "removal")


def withdraw(
    scene: Scenario, driver: ModelDriver, kinds: tuple[str, ...] = ("memory", "cpu", "sync")
) -> None:
    """Withdraw all registrations of some kinds, and free what they have."""
    for one in driver.registrations:
        if one.alive and one.kind in kinds:
            deregister(scene, one)
        if one.kind == "sync" and "sync" in kinds:
            for nt in list(one.objects):
                driver.free(one, nt)


def unload(scene: Scenario, driver: ModelDriver) -> None:
    """Unload a driver as the pages ask: asynchronous registrations before, the synchronous ones before or in Unload."""
    if scene.left_open(driver):
        scene.missing("a driver was unloaded between a Start and its end (A30)")
    if driver.habits.mode == "pnp":
        withdraw(scene, driver, ("memory", "cpu"))
        for device in driver.habits.devices:
            if (driver.name, device) not in scene.gone:
                remove(driver, device)
    withdraw(scene, driver, ("memory", "cpu"))
    early = scene.chance.random() < 0.2
    if early:
        withdraw(scene, driver)
    enter = driver.call("unload")
    withdraw(scene, driver)
    driver.called("unload", enter)
    driver.called("etw_unreg", driver.call("etw_unreg") if driver.habits.etw else 0)
    driver.loaded = False
    driver.bound.clear()
