# SPDX-License-Identifier: MIT
"""Notifications of device interfaces: which are new, and which host command explains one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contract.state.entities import Arrival
from harness.history import driver as d

if TYPE_CHECKING:
    from harness.contract.state.model import Model

MOST_LINKS = 65536
"""Symbolic links remembered per registration."""


class Arrivals:
    """Asynchronous callbacks since the last boot.

    ``all_links`` says where each interface was first seen, ``removed_links`` are those that were removed.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.begin_boot()

    def begin_boot(self) -> None:
        """Record that the guest boots: all interfaces come anew."""
        self.all_links: dict[str, int] = {}
        self.removed_links: set[str] = set()

    def enter(self, enter: d.AsyncEnter) -> Arrival:
        """Take the entry of a notification callback. Return the arrival, or the removal, that it is."""
        model = self._model
        registration = model.registrations.find(enter.reg, sync=False)
        if registration.sync:
            model.registrations.of_the_other_kind(enter, registration)
        arrival = Arrival(at=model.at, enter=enter, registration=registration)
        model.opened(enter.seq, arrival)
        model.facts.add("asynchronous callback")
        registration.first_cls = registration.first_cls or enter.cls
        links = registration.links
        if enter.event == "removal":
            links.pop(enter.link, None)
            if len(self.removed_links) < MOST_LINKS:
                # A disabled device existed before, even if no driver was notified of it.
                self.removed_links.add(enter.link)
            return arrival
        if enter.event != "arrival":
            return arrival
        if enter.cls == "memory":
            model.facts.add("memory arrival")
        if enter.cls == "cpu":
            model.facts.add("processor arrival")
            model.stream.arrived_at = model.at
        arrival.times = links.get(enter.link, 0) + 1
        arrival.seen_at = self.all_links.get(enter.link, model.at)
        if len(links) < MOST_LINKS:
            links[enter.link] = arrival.times
            self.all_links.setdefault(enter.link, model.at)
        fresh = enter.link not in registration.known_links and enter.link not in registration.new_links
        if fresh and len(registration.told) < MOST_LINKS:
            registration.told.append(model.at)
        if registration.base < 0 or enter.link in self.removed_links:
            if fresh and (not model.commands.cpu_in_flight or registration.base >= 0):
                registration.known_links.add(enter.link)
        elif fresh:
            registration.new_links.add(enter.link)
            arrival.new = True
            if enter.cls == "cpu":
                self._explained(arrival)
        arrival.existing = enter.link in registration.known_links
        return arrival

    def _explained(self, arrival: Arrival) -> None:
        """Find the window of the adds that explain a new link: the one in which any registration first saw it."""
        window, registration = self._model.commands.cpu_window, arrival.registration
        if window is None or window.closed_at or not registration.base_at < window.at <= arrival.seen_at:
            return
        arrival.window = window
        arrival.index = window.links[registration] = window.links.get(registration, 0) + 1

    def exit(self, leave: d.AsyncExit) -> Arrival | None:
        """Take the return of a notification callback. Return its arrival, None if its entry is not known."""
        arrival = self._model.stream.opens.get(leave.enter)
        if not isinstance(arrival, Arrival):
            return None
        del self._model.stream.opens[leave.enter]
        arrival.exit = leave
        return arrival
