# SPDX-License-Identifier: MIT
"""The option: what each interface of the harness needs to offer one setting of a run, to read it and to write it.

A door is an interface where a user sets options: a command, ``lab.toml``, the pytest plugin. An option is in
every door, unless it gives a reason against it. The command line imports this at its start, so it imports
nothing slow.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_type_hints

from harness.choice import check_choice, closest
from harness.errors import UsageError
from harness.size import Size, spelled

Door = Literal["run", "demo", "repro", "accept", "lab", "pytest"]


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a run, in the annotation of its field.

    - ``field`` names its value: a field of RunOptions, or a part of one, ``budget.boot``.
    - ``name`` is its name in all doors, except those in ``names``.
    - ``what`` is the kind of its ``choices`` in messages. ``listed`` is the command that lists them, if they are many.
    - ``flags`` replace it on the command line: the value that each sets, and its help. ``words`` are their
      equivalents elsewhere.
    - ``least`` and ``most`` bound a number.
    - ``path`` marks a path. It must ``exist`` as the given kind, or ``hint`` is shown.
    - ``machine`` marks an option that only guests on QEMU have, ``windows`` one that only Windows guests have.
    - ``recorded`` is false if ``run.json`` has the value elsewhere, or not at all.
    - ``absent`` is the reason for each door that does not have the option.
    """

    help: str
    _: dataclasses.KW_ONLY
    default: Any = None
    field: str = ""
    name: str = ""
    metavar: str = ""
    names: Mapping[Door, str] = dataclasses.field(default_factory=dict)
    what: str = ""
    choices: Callable[[], Iterable[str]] | None = None
    flags: Mapping[str, tuple[Any, str]] = dataclasses.field(default_factory=dict)
    words: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    least: float = float("-inf")
    most: float = float("inf")
    path: bool = False
    exist: Literal["", "file", "file or folder"] = ""
    hint: str = ""
    listed: str = ""
    machine: bool = False
    windows: bool = False
    recorded: bool = True
    absent: Mapping[Door, str] = dataclasses.field(default_factory=dict)

    def key(self, door: Door) -> str:
        """Return the option's name in a door, as a key: ``boot_timeout``."""
        return self.names.get(door, self.name).replace("-", "_")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the option's value in a TOML document."""
        from harness.schema import SIZE

        kind = type(self.default)
        found: dict[str, Any] = {"description": self.help}
        if self.words:
            values = [*self.words, *self.words.values()]
            return {**found, "enum": [value for at, value in enumerate(values) if value not in values[:at]]}
        if self.choices is not None:
            return {**found, "enum": list(self.choices())}
        if kind not in (int, float):
            return {**(SIZE if kind is Size else {"type": "string"}), **found}
        bounds = {"minimum": self.least, "maximum": self.most}
        number = {"type": "integer" if kind is int else "number"}
        return {**found, **number, **{key: one for key, one in bounds.items() if abs(one) != float("inf")}}

    def read(self, value: object) -> Any:
        """Return the value of a text, or of a value in a TOML document. Raises UsageError, which does not name the place."""
        kind = type(self.default)
        found: Any
        try:
            if self.words:
                found = next(
                    (is_ for word, is_ in self.words.items() if value == word or value is is_), value
                )
            else:
                found = kind(value if kind is Size else str(value))
            if kind is Size and found < self.least:
                raise ValueError(f"expected at least {int(self.least) >> 20} MiB, got {spelled(value)}")
            if kind in (int, float) and not self.least <= found <= self.most:
                raise ValueError
        except ValueError as error:
            bounds = f"{'seconds' if kind is float else 'a whole number'} from {self.least} to {self.most}"
            raise UsageError(
                str(error) if kind is Size else f"expected {bounds}, got {spelled(value)}"
            ) from error
        self.check(found)
        return found

    def check(self, value: Any) -> None:
        """Raise UsageError for a name or a path that does not exist. The default is not checked."""
        # 1 equals true, but is not a truth value.
        if any(
            value == one and type(value) is type(one) for one in (None, self.default, *self.words.values())
        ):
            return
        known = list(self.words if self.choices is None else self.choices())
        if known:
            if self.listed and str(value) not in known:
                close = closest(str(value), known)
                guess = f"Did you mean {close[0]!r}? " if close else ""
                raise UsageError(
                    f"no {self.what} is called {str(value)!r}", hint=f"{guess}{self.listed} lists them."
                )
            check_choice(self.what or self.name, str(value), known)
        # Not Path's methods: they raise for a name that is too long.
        there = os.path.isfile if self.exist == "file" else os.path.exists
        if self.exist and not there(value):
            raise UsageError(f"there is no {self.exist} {value!r}", hint=self.hint)

    def text(self, value: Any) -> str:
        """Return the text that parses to ``value``, "" for nothing."""
        if value is None or self.words:
            return next((word for word, is_ in self.words.items() if is_ == value), "")
        return (value.text if value else "") if isinstance(value, Size) else str(value)

    def arguments(self, value: Any) -> list[str]:
        """Return the arguments of a command line that parse to ``value``."""
        flags = [f"--{flag}" for flag, (known, _) in self.flags.items() if known == value]
        return flags or [f"--{self.name}", self.text(value)]


@functools.cache
def options_of(kind: type) -> tuple[Option, ...]:
    """Return the options among the fields of a dataclass in order; a field that is a dataclass contributes its own options."""
    found: list[Option] = []
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            parts = options_of(hints[field.name])
            found += [dataclasses.replace(part, field=f"{field.name}.{part.field}") for part in parts]
        for one in getattr(hints[field.name], "__metadata__", ()):
            name = one.name or field.name.replace("_", "-")
            own = {"field": field.name, "name": name, "default": field.default}
            if isinstance(field.default, bool) and not one.flags:
                flag = f"no-{name}" if field.default else name
                own |= {"flags": {flag: (not field.default, one.help)}, "words": {"yes": True, "no": False}}
            found.append(dataclasses.replace(one, **own))
    return tuple(found)
