# SPDX-License-Identifier: MIT
"""Whether a ``lab.toml`` can be carried out. Errors name its line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.choice import check_choice
from harness.config import decode_toml, line_of, read_document
from harness.errors import BadDocument, UsageError
from harness.host.end_time import read_end_time
from harness.host.qemu_build import find_program
from harness.lab.lab_document import (
    EXAMPLE,
    KNOWN_BY,
    OPTIONS,
    TABLES,
    UNTIL,
    FleetRow,
    GuestRow,
    LabDocument,
    QemuRow,
    SkipRow,
    TopologyRow,
    document_kind,
    resolved,
)
from harness.run.options import RunOptions, made, options_at
from harness.run.plan import Plan, decode_plan, find_plan


class DocumentCheck:
    """Checks the parts of one document. ``base`` is its directory, ``name`` what it is called in errors."""

    def __init__(self, text: str, name: str, base: Path) -> None:
        self.text = text
        self.name = name
        self._base = base

    def _at(self, *steps: object) -> str:
        return f"{self.name}:{line_of(self.text, list(steps))}"

    def names(self, table: str, names: Sequence[str], *, key: str = "name") -> None:
        """Check that the names in a table differ, also as parts of a file name."""
        for index, name in enumerate(names):
            if slug(name) in [slug(before) for before in names[:index]]:
                raise BadDocument(
                    f"{self._at(table, index, key)}: two {table} tables are called {name!r}",
                    hint="repeat = N runs a plan more than once."
                    if table == "plan"
                    else "Give each a name of its own.",
                )

    @contextlib.contextmanager
    def at(self, *steps: object) -> Iterator[None]:
        """Add the place in the document to a UsageError, unless the error is about another document."""
        try:
            yield
        except BadDocument:
            raise
        except UsageError as error:
            raise BadDocument(f"{self._at(*steps)}: {error.message}", hint=error.hint) from error

    def read(self, field: str, value: object, *steps: object) -> Any:
        """Return the value of an option of a run, which stands at ``steps``."""
        option = OPTIONS[field]
        with self.at(*steps):
            return option.read(str(self._base / value) if option.exist and isinstance(value, str) else value)

    def options(self, document: LabDocument) -> dict[str, Any]:
        """Return the options that the document sets for all runs, by field."""
        return {
            option.field: self.read(option.field, value, option.key("lab"))
            for option in options_at("lab")
            if (value := getattr(document, option.key("lab"))) not in (msgspec.UNSET, "")
        }

    def run(
        self,
        index: int,
        common: Mapping[str, Any],
        guest: GuestRow,
        qemu: QemuRow | None,
        topology: TopologyRow,
    ) -> RunOptions:
        """Return the options of a run on one machine, without those that do not apply to its guest."""
        rows = {"guest": guest.name, "driver": guest.driver and str(resolved(self._base, guest.driver))}
        if qemu is not None:
            path = qemu.path and str(resolved(self._base, qemu.path))
            rows |= {"qemu": path, "machine": topology.machine}
            rows |= {"backend": qemu.backend, "connect": qemu.connect}
        windows = guest.name.startswith("windows")
        fitting = {
            field: value
            for field, value in common.items()
            if (qemu or not OPTIONS[field].machine) and (windows or not OPTIONS[field].windows)
        }
        with self.at("guest", index, "name"):
            return made("lab", {**fitting, **{field: said for field, said in rows.items() if said}})

    def program(self, index: int, path: str) -> None:
        """Check that there is the program of a QEMU build."""
        try:
            find_program(resolved(self._base, path))
        except UsageError:
            raise
        except Exception as error:
            raise BadDocument(
                f"{self._at('qemu', index, 'path')}: there is no program {path!r}",
                hint=f"Relative paths begin at the directory of {self.name}; a name without a slash is looked up on PATH.",
            ) from error

    def plan(self, index: int, wanted: str) -> Plan:
        """Return the plan of a table: a built-in one, or that of a file."""
        if "/" not in wanted and not wanted.endswith(".toml"):
            with self.at("plan", index, "plan"):
                return find_plan(wanted)
        file = resolved(self._base, wanted)
        try:
            text = read_document(file)
        except BadDocument as error:
            raise BadDocument(
                f"{self._at('plan', index, 'plan')}: {error.message}",
                hint=error.hint or f"Relative paths begin at the directory of {self.name}.",
            ) from error
        return decode_plan(text, name=str(file))

    def skip(self, index: int, row: SkipRow, document: LabDocument, plans: Sequence[str]) -> None:
        """Check that a skip names what there is, and not everything."""
        known = {table: [other.name for other in getattr(document, table)] for table in TABLES}
        known["plan"] = list(plans)
        for key, names in known.items():
            value = getattr(row, key)
            if value:
                with self.at("skip", index, key):
                    check_choice(key, value, names)
        if not any(getattr(row, key) for key in known):
            raise BadDocument(
                f"{self._at('skip', index)}: this leaves out everything", hint="Name a guest or a plan."
            )

    def until(self, document: LabDocument) -> None:
        """Check the two times at which a nightly run ends."""
        if document.until:
            with self.at("until"):
                read_end_time(document.until, what="until", now=time.time())
        if document.explore:
            if not document.explore.startswith(UNTIL):
                raise BadDocument(
                    f"{self._at('explore')}: explore = {document.explore!r} does not say until when",
                    hint=f'explore = "{EXAMPLE}"',
                )
            with self.at("explore"):
                read_end_time(document.explore.removeprefix(UNTIL), what="explore", now=time.time())

    def known(self, document: LabDocument) -> None:
        """Check that each known issue describes its failures."""
        for index, row in enumerate(document.known):
            if not any(getattr(row, key) for key in KNOWN_BY):
                raise BadDocument(
                    f"{self._at('known', index)}: this matches every failure",
                    hint=f"Give at least one of {', '.join(KNOWN_BY)}.",
                )


def slug(name: str) -> str:
    """Return a name as it stands in a point and in a file name: letters, digits, ``_`` and ``-``."""
    return (
        "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "-" for sign in name)[:60]
        or "plan"
    )


def read_lab(path: Path) -> LabDocument:
    """Read the parts of a ``lab.toml`` outside the matrix, on a host that may lack its guests and QEMU builds.

    Raises BadDocument.
    """
    text = read_document(path)
    document = decode_toml(text, document_kind(), name=str(path))
    DocumentCheck(text, str(path), path.parent).known(document)
    return document


class _FleetPart(msgspec.Struct, frozen=True):
    fleet: FleetRow = FleetRow()


def read_fleet(path: Path) -> FleetRow:
    """Read ``[fleet]`` of a file. A host that only offers itself needs no matrix, so other keys are not checked.

    Raises BadDocument.
    """
    return decode_toml(read_document(path), _FleetPart, name=str(path)).fleet
