# SPDX-License-Identifier: MIT
"""``harness driver manifest``: compiles an instrumentation manifest to the resources that Windows decodes events with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import say_result
from harness.cli.parameters import Json
from harness.errors import ExitCode
from harness.report.escape import printable

if TYPE_CHECKING:
    from harness.cli.documents import CompiledManifestDocument


def manifest(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An instrumentation manifest (.man).")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The output folder.")],
    json: Json = False,
) -> int:
    """Compile a manifest to WEVT_TEMPLATE and message table resources, byte for byte like Microsoft's mc.exe."""
    from harness.driver.instrumentation import source
    from harness.driver.instrumentation.compiler import compile_manifest
    from harness.driver.instrumentation.products import write_products
    from harness.driver.manifest import digest

    compiled = compile_manifest(source.read(file), str(file))
    paths = write_products(compiled, file.stem, out)
    providers = compiled.manifest.providers
    events = sum(len(provider.events) for provider in providers)
    document: CompiledManifestDocument = {
        "sha256": {path.name: digest(path) for path in paths},
        "providers": [provider.name for provider in providers],
        "events": events,
        "cultures": list(compiled.tables),
    }
    names = ", ".join(document["providers"]) or "no provider"
    about = f"{names}; events: {events}; texts: {', '.join(compiled.tables) or 'none'}"
    files = (f"{document['sha256'][path.name]}  {path}" for path in paths)
    say_result(document, [*files, printable(about, 400)], json=json)
    return ExitCode.HOLDS
