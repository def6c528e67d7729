# SPDX-License-Identifier: MIT
"""The result store of a command line, from its options ``--into`` and ``--lab``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.lab.lab_document import LabDocument
    from harness.store.address import StoreAddress

LAB = Path("lab.toml")

Into = Annotated[
    Path,
    typer.Option(
        metavar="DIR", help="The folder of nightly runs, and of the store if nothing else names it."
    ),
]
"""The folder of nightly runs."""

Lab = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The lab file with [store] url; lab.toml by default.")
]
"""The lab of the store."""


def lab_of(file: Path | None) -> tuple[LabDocument | None, Path]:
    """Return the lab document and its path: that of ``file``, else of ``lab.toml`` here, None if there is none."""
    from harness.lab.document_check import read_lab

    path = LAB if file is None else file
    return (None if file is None and not path.exists() else read_lab(path)), path


def address_of(into: Path, file: Path | None) -> StoreAddress:
    """Return the address of the store."""
    from harness.store.address import store_address

    document, path = lab_of(file)
    return store_address(into, document.store.url if document is not None else "", base=path.parent)
