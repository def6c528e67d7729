# SPDX-License-Identifier: MIT
"""The absent value: it replaces a field that a driver's own events do not give.

Nothing can be concluded from it. Code that compares it, counts with it or tests its truth gets :class:`NotGiven`
instead of an invented answer. So no rule needs to know beforehand which fields a map leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, Self

import msgspec

from harness.history.driver import DriverRecord
from harness.history.record import Mapped, Record

SAMPLED = frozenset({"irql", "active", "active_g0", "active_g0_ex", "maximum", "groups"})
"""Fields of every record that an event need not give."""

OPTIONAL: dict[str, frozenset[str]] = {
    "sync.enter": frozenset(
        {"ctx", "max_in_group", "mask", "idx_status", "idx_group", "idx_number", "back_idx"}
    ),
    "sync.exit": frozenset({"state", "nt", "group", "number", "status"}),
    "async.enter": frozenset({"version", "memory"}),
    "call.enter": frozenset({"ctx"}),
}
"""Further fields that an event of a kind need not give."""


class NotGiven(Exception):
    """Code used a field that the driver's events do not give; the message names it."""


class Absent(int):
    """The value of one absent field. It can be passed on and shown, and nothing else."""

    _name: str

    def __new__(cls, name: str, stands: int = 0) -> Self:
        """Take ``name``, the field's name for people (``sync.enter.mask``), and ``stands``, the number recorded in its place."""
        made = super().__new__(cls, stands)
        made._name = name
        return made

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self

    @property
    def stands(self) -> int:
        """The meaningless number in the field's place in the history."""
        return int.__index__(self)

    def _refuse(self, *_: Any) -> NoReturn:
        raise NotGiven(f"the driver's events do not give {self._name}")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __truediv__ = __rtruediv__ = _refuse
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _refuse
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _refuse
    __neg__ = __pos__ = __abs__ = __invert__ = __bool__ = __index__ = __int__ = __hash__ = _refuse

    def __repr__(self) -> str:
        return "not given"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "not given"


class AbsentFields:
    """The absent fields in the records of one mapped driver."""

    def __init__(self, mapped: Mapped) -> None:
        self._of = {
            kind: {
                name: name if name in SAMPLED else f"{kind}.{name}"
                for name in names
                # The fields on which everything rests are present, whatever a history claims.
                if name in SAMPLED or name in OPTIONAL.get(kind, ())
            }
            for kind, names in mapped.absent.items()
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbsentFields) and self._of == other._of

    __hash__ = None  # type: ignore[assignment]

    def blank(self, record: DriverRecord, *, common: bool = False) -> DriverRecord:
        """Return the record with an :class:`Absent` in each absent field; with ``common``, only in those of all records."""
        fields = self._of.get(str(type(record).__struct_config__.tag), {})
        blanks = {
            name: Absent(said, value)
            for name, said in fields.items()
            if isinstance(value := getattr(record, name, None), int) and (name in SAMPLED or not common)
        }
        return msgspec.structs.replace(record, **blanks) if blanks else record


def absent_in(record: Record) -> frozenset[str]:
    """Return the names of the record's absent fields."""
    return frozenset(name for name in record.__struct_fields__ if isinstance(getattr(record, name), Absent))


def standing(record: DriverRecord) -> DriverRecord:
    """Return a record as it is in the history, without absent values."""
    found = {name: getattr(record, name).stands for name in absent_in(record)}
    return msgspec.structs.replace(record, **found) if found else record


class ReadableRecords:
    """Records for people to read, with the absent fields of a mapped driver marked. Iterable as often as ``records``."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records

    def __iter__(self) -> Iterator[Record]:
        blanks: dict[str, AbsentFields] = {}
        for record in self._records:
            if isinstance(record, Mapped):
                blanks[record.driver] = AbsentFields(record)
            if blanks and isinstance(record, DriverRecord) and record.driver in blanks:
                yield blanks[record.driver].blank(record, common=True)
            else:
                yield record
