# SPDX-License-Identifier: MIT
"""Devices of a KMDF driver: their start, a rebalance of their resources, their removal."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from harness.history.driver import PnpEnter, PnpExit
from tests.contract.reference.driver import ERRORS, ModelDriver

DOWN = ("SelfManagedIoSuspend", "D0Exit", "ReleaseHardware")
UP = ("PrepareHardware", "D0Entry", "SelfManagedIoRestart")


def start(driver: ModelDriver, device: str, init: Callable[[], None]) -> None:
    """Start a device; its SelfManagedIoInit makes the registrations."""
    driver.pnp(device, "AddDevice")
    request = driver.say(PnpEnter, device=device, minor="START")
    driver.pnp(device, "PrepareHardware")
    driver.pnp(device, "D0Entry")
    entered = driver.say(PnpEnter, device=device, minor="SelfManagedIoInit")
    init()
    driver.say(PnpExit, enter=entered, device=device, minor="SelfManagedIoInit", ret=0)
    driver.say(PnpExit, enter=request, device=device, minor="START", ret=0)


def remove(driver: ModelDriver, device: str) -> None:
    """Remove a device that runs."""
    for minor in ("SelfManagedIoSuspend", "D0Exit", "ReleaseHardware"):
        driver.pnp(device, minor)


def rebalance(driver: ModelDriver, gone: set[tuple[str, str]], chance: random.Random) -> Iterator[None]:
    """Stop and start the devices of a driver, one or several at once; each step is a callback."""
    running = [device for device in driver.habits.devices if (driver.name, device) not in gone]
    turns = [_one(driver, device, gone, chance) for device in running if chance.random() < 0.8]
    together = chance.random() < 0.5
    while turns:
        turn = chance.choice(turns) if together else turns[0]
        try:
            next(turn)
        except StopIteration:
            turns.remove(turn)
        yield


def _one(
    driver: ModelDriver, device: str, gone: set[tuple[str, str]], chance: random.Random
) -> Iterator[None]:
    driver.pnp(device, "QUERY_STOP")
    yield
    if chance.random() < 0.3:
        driver.pnp(device, "CANCEL_STOP")
        return
    yield from _wrapped(driver, device, "STOP", DOWN)
    fails = chance.choice(["", "", "", "PrepareHardware", "D0Entry"])
    if fails:
        gone.add((driver.name, device))
    yield from _wrapped(driver, device, "START", UP, fails, chance.choice(ERRORS))


def _wrapped(
    driver: ModelDriver, device: str, minor: str, inside: tuple[str, ...], fails: str = "", status: int = 0
) -> Iterator[None]:
    """A request and the framework's callbacks in it; a failed one is followed by ReleaseHardware, never by D0Exit."""
    request = driver.say(PnpEnter, device=device, minor=minor)
    for callback in inside:
        driver.pnp(device, callback, status if callback == fails else 0)
        yield
        if callback == fails:
            driver.pnp(device, "ReleaseHardware")
            break
    driver.say(PnpExit, enter=request, device=device, minor=minor, ret=status if fails else 0)
    yield
