# SPDX-License-Identifier: MIT
"""The products of a compilation: files for resource compilers and linkers, written into a folder completely or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from harness.driver.instrumentation.compiler import CompiledManifest
from harness.driver.instrumentation.strings import PRIMARY_MASK, language
from harness.driver.resource_file import MESSAGE_TABLE, NEUTRAL, Resource, resource_file
from harness.errors import UsageError, system_errors

WEVT_TEMPLATE = "WEVT_TEMPLATE"
NUMBER = 1
"""The number of both resources, by which Windows finds them."""

UNWRITABLE = '"\\\n\r'
"""Characters that a file name in a resource script cannot have."""

_SUBLANGUAGE_SHIFT = 10


def resources(compiled: CompiledManifest) -> list[Resource]:
    """Return the resources of a manifest: message tables by language, then the event descriptions."""
    tables = [
        Resource(MESSAGE_TABLE, NUMBER, language(culture) or NEUTRAL, table)
        for culture, table in compiled.tables.items()
    ]
    tables.sort(key=lambda table: table.language)
    return [*tables, Resource(WEVT_TEMPLATE, NUMBER, NEUTRAL, compiled.template)]


def write_products(compiled: CompiledManifest, stem: str, out: Path) -> list[Path]:
    """Write ``STEM.wevt_template.bin``, message tables, ``STEM.rc`` and ``STEM.res`` into a folder, and return their paths.

    ``STEM.message_table.bin`` is that of the primary language, ``STEM.message_table.CULTURE.bin`` that of another.
    Raises UsageError (an invalid name in a resource script) and InfrastructureError.
    """
    if any(each in UNWRITABLE for each in stem):
        raise UsageError(
            f"a resource script cannot name files after {stem!r}",
            hint="Give the manifest a name without quotes, backslashes and line ends.",
        )
    files = {f"{stem}.wevt_template.bin": compiled.template}
    script = []
    for index, (culture, table) in enumerate(compiled.tables.items()):
        name = f"{stem}.message_table.{f'{culture}.' if index else ''}bin"
        files[name] = table
        script.append((language(culture) or NEUTRAL, name))
    lines = [
        f'LANGUAGE {number & PRIMARY_MASK:#x}, {number >> _SUBLANGUAGE_SHIFT:#x}\n{NUMBER} {MESSAGE_TABLE} "{name}"\n'
        for number, name in sorted(script)
    ]
    lines.append(f'LANGUAGE 0x0, 0x0\n{NUMBER} {WEVT_TEMPLATE} "{stem}.wevt_template.bin"\n')
    files[f"{stem}.rc"] = os.fsencode("".join(lines))
    files[f"{stem}.res"] = resource_file(resources(compiled))
    with system_errors(f"cannot write into {out}", hint="Name another folder with --out."):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".manifest-") as place:
            for name, content in files.items():
                (Path(place) / name).write_bytes(content)
            for name in files:
                (Path(place) / name).replace(out / name)
    return [out / name for name in files]
