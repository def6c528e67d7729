# SPDX-License-Identifier: MIT
"""The absent value: what stands in a field that a driver's own events do not give.

Nothing can be told from it. Whoever asks (compares it, counts with it, takes it for true) gets :class:`NotGiven`
instead of an answer that would be made up; so no rule needs to know beforehand which fields a map leaves out.
"""

from __future__ import annotations

from typing import Any, NoReturn, Self

import msgspec

from harness.history.driver import DriverRecord
from harness.history.record import Mapped

_COMMON = frozenset(field.name for field in msgspec.structs.fields(DriverRecord))


class NotGiven(Exception):
    """Something asked for a field that the driver's events do not give; the message names it."""


class Absent(int):
    """The value of one absent field. It can be passed on and shown, and nothing else."""

    _name: str

    def __new__(cls, name: str) -> Self:
        """``name`` is the field, as a person would call it: ``sync.enter.active``."""
        made = super().__new__(cls, 0)
        made._name = name
        return made

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


class Blanks:
    """What is absent from the records of one mapped driver."""

    def __init__(self, mapped: Mapped) -> None:
        self._of = {
            kind: {name: Absent(name if name in _COMMON else f"{kind}.{name}") for name in names}
            for kind, names in mapped.absent.items()
        }

    def blank(self, record: DriverRecord) -> DriverRecord:
        """Return the record with an :class:`Absent` in each field that is none."""
        fields = self._of.get(str(type(record).__struct_config__.tag))
        known = {name: value for name, value in (fields or {}).items() if hasattr(record, name)}
        return msgspec.structs.replace(record, **known) if known else record
