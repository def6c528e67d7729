# SPDX-License-Identifier: MIT
"""The compiler: from a manifest's bytes to its resources."""

from __future__ import annotations

from typing import NamedTuple

from harness.driver.instrumentation.message_table import assign_numbers, message_table
from harness.driver.instrumentation.model import ManifestDefinition
from harness.driver.instrumentation.reader import read_manifest
from harness.driver.instrumentation.source import parse
from harness.driver.instrumentation.wevt_template import wevt_template


class CompiledManifest(NamedTuple):
    """A compiled manifest: message tables by culture, the primary one first, and the event descriptions."""

    manifest: ManifestDefinition
    template: bytes
    tables: dict[str, bytes]


def compile_manifest(data: bytes, name: str) -> CompiledManifest:
    """Compile the bytes of a manifest. ``name`` is the file's name in errors. Raises BadDocument, with the line."""
    manifest = read_manifest(parse(data, name))
    assign_numbers(manifest, name)
    tables = {culture: message_table(manifest, culture) for culture in manifest.cultures}
    return CompiledManifest(
        manifest, wevt_template(manifest), {culture: table for culture, table in tables.items() if table}
    )
