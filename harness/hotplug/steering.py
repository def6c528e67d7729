# SPDX-License-Identifier: MIT
"""Orders to a guest and to the driver in it that a plan gives, one answer each."""

from __future__ import annotations

from harness.deadline import Deadline
from harness.guest.guest import Guest
from harness.hotplug import operation as op


def steer(guest: Guest, order: op.Steering, deadline: Deadline) -> str:
    """Give an order and return what to note of it. Raises what the guest raises."""
    match order:
        case op.VetoNext(status=status, driver=driver):
            guest.veto_next(deadline, status=status, driver=driver)
            return f"status {status:#010x}"
        case op.DelayStart(milliseconds=milliseconds, driver=driver):
            guest.delay_start(milliseconds, deadline, driver=driver)
            return f"{milliseconds} ms"
        case op.Register(which=which, existing=existing, driver=driver):
            guest.register(which, deadline, existing=existing, driver=driver)
            return which
        case op.Deregister(which=which, driver=driver):
            guest.deregister(which, deadline, driver=driver)
            return which
        case op.Strain(seconds=seconds):
            guest.strain(seconds, deadline)
            return f"{seconds} s"
        case op.Crash():
            guest.provoke("panic", deadline)
            return ""
