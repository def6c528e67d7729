# SPDX-License-Identifier: MIT
"""Commands of a plan to a guest and to its driver, with one answer each."""

from __future__ import annotations

from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.guest import Guest
from harness.run import operation as op


def steer(guest: Guest, order: op.GuestCommand, deadline: Deadline) -> str:
    """Execute a command and return its detail for the record. Raises what the guest raises."""
    match order:
        case op.VetoNext(status=status, nth=nth, driver=driver):
            guest.veto_next(deadline, status=status, nth=nth, driver=driver)
            return f"status {status:#010x}"
        case op.DelayStart(milliseconds=milliseconds, driver=driver):
            guest.delay_start(milliseconds, deadline, driver=driver)
            return f"{milliseconds} ms"
        case op.Register():
            return _register(guest, order, deadline)
        case op.Deregister(which=which, driver=driver):
            guest.deregister(which, deadline, driver=driver)
            return which
        case op.Strain(seconds=seconds):
            guest.strain(seconds, deadline)
            return f"{seconds} s"
        case op.WatchArrivals(seconds=seconds):
            guest.watch_arrivals(seconds, deadline)
            return f"{seconds} s"
        case op.AnswerUnplugs(by=answer, late=late):
            guest.answer_unplugs(answer, deadline, late=late)
            return f"{answer}, after {late:g} s" if late else answer
        case op.Crash():
            guest.provoke("panic", deadline)
            return ""


def _register(guest: Guest, order: op.Register, deadline: Deadline) -> str:
    try:
        guest.register(order.which, deadline, existing=order.existing, driver=order.driver)
    except GuestRefused as error:
        if order.expect != "refused":
            raise
        return f"{order.which} refused, as expected: {error.message}"
    if order.expect == "refused":
        raise GuestRefused(f"the registration {order.which} was made, and the plan expects it to be refused")
    return order.which
