# SPDX-License-Identifier: MIT
"""What a history may lack and where it contradicts itself. Every conclusion from absence is checked here.

A *loss* is an interval of places in the stream where records of one driver, or of any, may be missing: a gap in the
driver's numbers, a beginning without hello, an end that no complete channel confirms, or lines that are in a channel's
account and not in the history. A *contradiction* is a place where the history disproves itself: conclusions from it are
unknown. A record with different contents on two channels is *disputed*: it shows nothing.

Accounts come at the end of a run. A rule that concludes from absence therefore names the stretch that it rests on
(``Broken.absent``), and the answer is given here when everything is known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from harness.contract.state.entities import DriverLoad, Loss, Stretch
from harness.contract.state.merge import Carried, Conflict, Disorder, Displaced, Gap, Repeat
from harness.history.driver import DriverRecord
from harness.history.record import Channel, Record

FOREVER = 1 << 62
"""A place after every record."""

MOST_LOSSES = 1024
"""Losses remembered one by one; further ones are merged into one interval."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two statements of the history that cannot both be true, and the records that make them."""

    why: str
    shown: tuple[Record, ...]


@dataclass(slots=True)
class _Ended:
    """The stream of a driver in a boot that is over: its last record and the end of the boot."""

    driver: str
    last_at: int
    until: int
    finished: bool


class HistoryEvidence:
    """All losses and contradictions of one history, over all its boots."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self._ends: list[int] = []
        self.contradictions: list[Contradiction] = []
        self._disputed: dict[tuple[str, str, int], str] = {}
        self._doubtful: dict[tuple[str, str], str] = {}
        self._disordered: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
        self._misnumbered: dict[tuple[str, str], tuple[int, str]] = {}
        self._moved: tuple[int, str] | None = None
        self._unseen: list[Loss] = []
        self._accounts: dict[str, Channel] = {}
        self._carried: dict[str, Carried] = {}
        self._closed_at: dict[str, int] = {}
        self._ended: list[_Ended] = []

    # -- what is found on the way ------------------------------------------------------------------------------

    def lose(self, driver: str, begin: int, end: int, why: str, shown: Record | None = None) -> None:
        """Record that something of ``driver`` ("" for any) may be missing between two places."""
        if len(self.losses) >= MOST_LOSSES:
            last = self.losses.pop()
            self._ends.pop()
            driver, begin, end = "", min(last.begin, begin), max(last.end, end)
            why, shown = last.why, last.shown
        self.losses.append(Loss(driver, begin, end, why, shown))
        self._ends.append(max(end, self._ends[-1]) if self._ends else end)

    def gap(self, gap: Gap, begin: int, end: int) -> None:
        """Record that the numbers of ``gap`` never arrived: their places lie between ``begin`` and ``end``."""
        count = gap.last - gap.first + 1
        numbers = f"record #{gap.first}" if count == 1 else f"records #{gap.first} to #{gap.last}"
        self.lose(gap.driver, begin, end, f"{numbers} of driver {gap.driver} never arrived", gap)

    def question(self, why: str, shown: Sequence[Record]) -> None:
        """Record a statement that nothing in the history explains: the run cannot hold, but violations still count."""
        if len(self.contradictions) < MOST_LOSSES:
            self.contradictions.append(Contradiction(why, tuple(shown)))

    def contradict(
        self, why: str, shown: Sequence[Record], *, driver: str = "", begin: int = 0, end: int = FOREVER
    ) -> None:
        """Record that the history disproves itself: what ``driver`` ("" for any) did between two places is unknown."""
        self.question(why, shown)
        self.lose(driver, begin, end, why, shown[-1] if shown else None)

    def dispute(self, conflict: Conflict, begin: int) -> None:
        """Record that two channels give one record differently: it shows nothing."""
        why = f"record #{conflict.seq} of driver {conflict.driver} has two different copies"
        self._dispute(conflict, why)
        self.contradict(
            f"{why} (record {conflict.first} and record {conflict.n} differ in {conflict.fields})",
            (conflict,), driver=conflict.driver, begin=begin,
        )  # fmt: skip

    def disbelieve(self, record: DriverRecord, why: str, begin: int) -> None:
        """Record that a record contradicts what its driver reported before: it shows nothing, and hides something."""
        self._dispute(record, why)
        self.contradict(why, (record,), driver=record.driver, begin=begin)

    def _dispute(self, record: Conflict | Repeat | DriverRecord, why: str) -> None:
        if len(self._disputed) < MOST_LOSSES:
            self._disputed.setdefault((record.boot, record.driver, record.seq), why)

    def twice(self, repeat: Repeat, begin: int) -> None:
        """Record that a channel brought a number twice: it is not known which of the two the driver wrote."""
        why = f"channel {repeat.channel} brought record #{repeat.seq} of driver {repeat.driver} twice"
        self.lose(repeat.driver, begin, FOREVER, why, repeat)
        self._dispute(repeat, f"record #{repeat.seq} of driver {repeat.driver} has two different copies")

    def disorder(self, disorder: Disorder, begin: int) -> None:
        """Record that a driver's numbers and the order in which a channel brought them contradict each other.

        It is not known which of the two is right, and so not where the records with the numbers between them belong.
        """
        why = f"channel {disorder.channel} brought record #{disorder.seq} of driver {disorder.driver} behind a later one"
        self.contradict(why, (disorder,), driver=disorder.driver, begin=begin)
        known = self._disordered.setdefault((disorder.boot, disorder.driver), [])
        low, high = disorder.seq, disorder.behind
        if known and (low <= known[-1][1] or len(known) >= MOST_LOSSES):
            before = known.pop()
            low, high, why = min(low, before[0]), max(high, before[1]), before[2]
        known.append((low, high, why))

    def misnumber(self, first: DriverRecord, second: DriverRecord, begin: int) -> None:
        """Record that the numbers of two records contradict both the driver's counter and the order in which they came.

        What has a lower counter than both is where it belongs. What has not may stand on the wrong side of the wrong number.
        """
        why = (
            f"record #{second.seq} of driver {second.driver} came before its record #{first.seq} and has a lower counter, "
            "so one of their numbers is wrong"
        )
        stream = (second.boot, second.driver)
        since, why = min(self._misnumbered.get(stream, (second.qpc, why)), (second.qpc, why))
        self._misnumbered[stream] = since, why
        self.contradict(why, (first, second), driver=second.driver, begin=begin)

    def displace(self, displaced: Displaced, begin: int) -> None:
        """Record that a record's time contradicts its place, back to the place that its time gives it.

        It is not known which record was moved, and what was open or counted from there on rests on their order. Nothing is
        missing, so what holds still holds.
        """
        if self._moved is None:
            why = f"record {displaced.n} is earlier, by the host's clock, than records that stand before it"
            self._unseen.append(Loss("", begin, FOREVER, why))
            self._moved = displaced.after, why
        self._moved = min(self._moved[0], displaced.after), self._moved[1]

    def distrust(self, boot: str, driver: str, why: str) -> None:
        """Trust nothing that ``driver`` ("" for any) reported in the boot with nonce ``boot`` ("" for any)."""
        if len(self._doubtful) < MOST_LOSSES:
            self._doubtful.setdefault((boot, driver), why)

    def unseen(self, driver: str, begin: int, end: int, why: str) -> None:
        """Record that it is unknown what ``driver`` ("" for any) had to say between two places: absence there shows nothing."""
        if len(self._unseen) < MOST_LOSSES:
            self._unseen.append(Loss(driver, begin, end, why))

    def carried(self, carried: Carried) -> None:
        """Keep the amount that a channel brought."""
        if carried.name in self._carried or len(self._carried) < MOST_LOSSES:
            self._carried[carried.name] = carried

    def account(self, channel: Channel) -> None:
        """Keep a channel's account."""
        if channel.name in self._accounts or len(self._accounts) < MOST_LOSSES:
            self._accounts[channel.name] = channel
            carried = self._carried.get(channel.name)
            self._closed_at[channel.name] = 0 if carried is None else carried.records
            if channel.cut:
                # A crash, or a record of another driver, may be in what is missing.
                self.question(f"channel {channel.name} was cut: {channel.cut}", (channel,))

    def boot_over(self, streams: Iterable[DriverLoad], at: int) -> None:
        """Record that the guest booted again. The accounts show whether the last records of these streams are here."""
        for stream in streams:
            if len(self._ended) < MOST_LOSSES:
                self._ended.append(_Ended(stream.driver, stream.last_at, at, stream.finished))

    # -- what is asked -----------------------------------------------------------------------------------------

    def missing(self, driver: str, begin: int, end: int) -> str:
        """Return why records of ``driver`` ("" for any) may be missing between two places; "" if none are known to be."""
        # No loss before this one reaches as far as ``begin``.
        for loss in islice(self.losses, bisect_right(self._ends, begin), None):
            overlaps = loss.begin < end and loss.end > begin
            if overlaps and (not driver or not loss.driver or loss.driver == driver):
                return loss.why
        return ""

    def doubt(self, shown: Iterable[Record], absent: Stretch | None) -> str:
        """Return why a violation cannot be believed, now that everything is known; "" if it can.

        ``shown`` are the records that show it, ``absent`` the stretch in which it assumes that records are absent.
        """
        if self._disputed or self._doubtful:
            for record in shown:
                if not isinstance(record, DriverRecord):
                    continue
                boot, driver = record.boot, record.driver
                if why := self._disputed.get((boot, driver, record.seq)):
                    return why
                for key in ((boot, driver), ("", driver), (boot, "")):
                    if key in self._doubtful:
                        return self._doubtful[key]
        if (self._disordered or self._misnumbered) and (why := self._misplaced(shown)):
            return why
        if self._moved is not None and any(record.n >= self._moved[0] for record in shown):
            return self._moved[1]
        if absent is None:
            return ""
        driver, begin, end = absent
        for one in self._unseen:
            if one.begin < end and one.end > begin and (not driver or one.driver == driver):
                return one.why
        return self.missing(*absent) if self.losses else ""

    def _misplaced(self, shown: Iterable[Record]) -> str:
        """Return why it is not known where one of these records belongs; "" if it is."""
        for record in shown:
            if isinstance(record, DriverRecord):
                since, why = self._misnumbered.get((record.boot, record.driver), (FOREVER, ""))
                if record.qpc >= since:
                    return why
                for low, high, why in self._disordered.get((record.boot, record.driver), ()):
                    if low <= record.seq <= high:
                        return why
        return ""

    # -- at the end --------------------------------------------------------------------------------------------

    def end(self, streams: Iterable[DriverLoad], begin: int) -> None:
        """Compare each channel's account with what it brought, and decide whose last records may be missing."""
        suspects: dict[str, str] = {}
        for name in sorted({*self._carried, *self._accounts}):
            why = self._tail(name)
            if why:
                suspects[name] = why
        loads = list(streams)
        for load in loads:
            if load.last is not None and load.last_at == load.began_at:
                self.distrust(
                    load.boot, load.driver, f"driver {load.driver} said one thing and then nothing more"
                )
        tops: dict[str, int] = {}
        for carried in self._carried.values():
            late = carried.records - self._closed_at.get(carried.name, carried.records)
            if late:
                account = self._accounts[carried.name]
                self.question(f"channel {carried.name} brought {late} records after its account", (account,))
            for driver, top in carried.tops.items():
                tops[driver] = max(top, tops.get(driver, 0))
        for stream in loads:
            if not stream.finished:
                why = self._vouched(stream.driver, tops.get(stream.driver, 0), suspects)
                if why:
                    why = f"the last records of driver {stream.driver} may be missing: {why}"
                    self.lose(stream.driver, stream.last_at, FOREVER, why)
        for name, why in suspects.items():
            if self._unclaimed(name, loads, suspects):
                self.lose(
                    "",
                    max((load.last_at for load in loads), default=begin),
                    FOREVER,
                    f"records may be missing: {why}",
                )
            closed = self._accounts.get(name)
            if closed is not None and _damage(closed) > self._places(name):
                for ended in self._ended:
                    if not ended.finished:
                        said = f"the last records of driver {ended.driver} in an earlier boot may be missing: {why}"
                        self.lose(ended.driver, ended.last_at, ended.until, said)
        self._agree(loads, begin)

    def _unclaimed(self, name: str, loads: list[DriverLoad], suspects: dict[str, str]) -> bool:
        """Return whether a channel may lack lines at its end while no driver that it carried is still loaded."""
        account, carried = self._accounts.get(name), self._carried.get(name)
        if carried is None or any(load.driver in carried.tops and not load.finished for load in loads):
            return False
        if account is not None and account.closed and _damage(account) <= carried.places:
            return False
        return not any(
            other.name not in suspects and carried.tops.keys() <= other.tops.keys()
            for other in self._carried.values()
        )

    def _places(self, name: str) -> int:
        carried = self._carried.get(name)
        return 0 if carried is None else carried.places

    def _tail(self, name: str) -> str:
        """Return why the last lines of a channel may be missing; "" if its account shows that they are not."""
        account = self._accounts.get(name)
        if account is not None and account.cut:
            return f"channel {name} was cut: {account.cut}"
        if account is None or not account.closed:
            return f"channel {name} was never closed with an account"
        if _damage(account) > self._places(name):
            return f"channel {name} had damaged or lost lines"
        carried = self._carried.get(name)
        if account.records > (carried.records + carried.holes if carried is not None else 0):
            return _apart(account, carried)
        if account.lost and (carried is None or account.lost > carried.holes):
            return f"channel {name} had damaged or lost lines"
        return ""

    def _vouched(self, driver: str, top: int, suspects: dict[str, str]) -> str:
        """Return why a driver's last records may be missing. One channel that lost nothing at its end proves that none are.

        Numbers that are known to be missing lie before a known one. Two channels that end at the same number agree on
        the end.
        """
        mine = [carried for carried in self._carried.values() if driver in carried.tops]
        ends = [carried.name for carried in mine if carried.tops[driver] == top]
        if any(name not in suspects for name in ends):
            return ""
        closed = [name for name in ends if (account := self._accounts.get(name)) and account.closed]
        if len(mine) > 1 and (len(closed) > 1 or any(not _damage(self._accounts[name]) for name in closed)):
            return ""
        return next((suspects[name] for name in ends), "no channel brought them")

    def _agree(self, loads: list[DriverLoad], begin: int) -> None:
        """Record a contradiction if an account names another number of records than there are.

        Records that are missing at the end of a loaded driver are a loss, unless another channel brought them.
        """
        for name, account in self._accounts.items():
            carried = self._carried.get(name)
            records, mapped, holes = (
                (carried.records, carried.mapped, carried.holes) if carried else (0, 0, 0)
            )
            if not account.closed:
                continue
            if account.stale:
                self.contradict(
                    f"channel {name} discarded {account.stale} lines of another boot or of a number that it had seen",
                    (account,),
                )  # fmt: skip
            alive = carried is not None and any(
                load.driver in carried.tops and not load.finished for load in loads
            )
            if account.records < records - mapped or (account.records > records + holes and not alive):
                last = max((load.last_at for load in loads), default=begin)
                short = account.records < records - mapped
                self.contradict(_apart(account, carried), (account,), begin=0 if short else last)
        if any(account.closed for account in self._accounts.values()):
            for name, brought in self._carried.items():
                if name not in self._accounts:
                    self.contradict(
                        f"channel {name} brought {brought.records} records and has no account", (brought,)
                    )


def _apart(account: Channel, carried: Carried | None) -> str:
    records = carried.records if carried is not None else 0
    return (
        f"channel {account.name} counted {account.records} records, and the history holds {records} of them"
    )


def _damage(channel: Channel) -> int:
    """Return the lines of a channel that may have been records, each at one place."""
    return channel.torn + channel.corrupt + channel.oversized
