# SPDX-License-Identifier: MIT
"""``harness driver``: builds, signs and checks the guest driver on Linux."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.choice import check_choice
from harness.cli import driver_manifest
from harness.cli.command_tree import command_group
from harness.cli.output import say, say_result
from harness.cli.parameters import Json
from harness.deadline import Deadline
from harness.errors import ExitCode, UsageError, system_errors
from harness.invocation import invocation
from harness.report.escape import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.cli.documents import DriverCheckDocument, WdkBuild
    from harness.driver.image import ImageCheck

BUILD_SECONDS = 300.0
SIGN_SECONDS = 60.0
WDK_SECONDS = 3600.0
"""Seconds for a boot of Windows, and for Static Driver Verifier, whose duration is not predictable."""

Driver = Annotated[Path, typer.Argument(metavar="FILE", help="A built driver, hpnotify.sys.")]


def build(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The output folder.")],
    toolchain: Annotated[str, typer.Option(help="clang (with lld-link) or gcc (mingw-w64).")] = "clang",
    kmdf_inc: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar="KMDF_INC",
            help="Use the wdf.h of a WDK (…/Include/wdf/kmdf/1.15) instead of the project's own declarations.",
        ),
    ] = None,
    wdk: Annotated[
        bool, typer.Option("--wdk", help="Build with Microsoft's WDK in a Windows guest instead.")
    ] = False,
    guest: Annotated[
        str, typer.Option(metavar="NAME", help="With --wdk: the Windows guest to build in.")
    ] = "",
    ewdk: Annotated[
        Path | None, typer.Option(metavar="ISO", help="With --wdk: the medium of the Enterprise WDK.")
    ] = None,
    json: Json = False,
) -> int:
    """Build the driver: reproducibly with a cross compiler, or with the WDK. Exits with 1 if a WDK build fails a check."""
    from harness.driver.build import build as build_driver
    from harness.driver.symbols import windbg_options

    if wdk:
        return _build_with_wdk(out, guest, ewdk, json=json)
    if guest or ewdk is not None:
        raise UsageError(
            "--guest and --ewdk go with --wdk", hint="Without it the driver is built on this machine."
        )
    path, manifest = build_driver(
        out, Deadline(BUILD_SECONDS, "building the driver"), toolchain=toolchain, kmdf_inc=kmdf_inc
    )
    lines = [
        *(f"{digest}  {path.parent / name}" for name, digest in manifest.sha256.items()),
        f"{manifest.compiler}; KMDF {manifest.kmdf}; {manifest.label}",
        *([f"for WinDbg: {windbg_options(path)}"] if manifest.symbols else []),
    ]
    say_result(manifest, lines, json=json)
    return ExitCode.HOLDS


def _build_with_wdk(out: Path, guest: str, ewdk: Path | None, *, json: bool) -> int:
    """Start the guest with the medium in its drive, build there, and check the files copied back."""
    from typing import cast

    from harness.driver.wdk import WdkGuest, build_with_wdk, check_medium
    from harness.guest.guest_types import GUEST_TYPES
    from harness.setup.cache import cache_directory

    if not guest or ewdk is None:
        example = ("--wdk", "--guest", "windows-server-2022", "--ewdk", "EWDK.iso")
        raise UsageError(
            "--wdk needs a Windows guest and the medium of the Enterprise WDK",
            hint=invocation("driver", "build", *example, "--out", "DIR"),
        )
    check_medium(ewdk)
    check_choice("guest", guest, GUEST_TYPES)
    guest_type = GUEST_TYPES[guest]
    if not hasattr(guest_type, "build_vm"):
        raise UsageError(f"the WDK does not run in the guest {guest!r}", hint="It needs a Windows guest.")
    deadline = Deadline(WDK_SECONDS, "building the driver with the WDK")

    def progress(text: str) -> None:
        sys.stderr.write(f"{printable(text, 400)}\n")

    build_vm = cast("WdkGuest", guest_type).build_vm(ewdk, cache_directory(os.environ), deadline, progress)
    with build_vm as vm:
        built = build_with_wdk(vm, out, deadline, medium=ewdk.name)
    ok = all(one.ok for one in built.checks)
    document: WdkBuild = {
        "ok": ok,
        "manifest": built.manifest,
        "missing": built.missing,
        "checks": built.checks,
    }
    lines = [
        *(f"{digest}  {out / name}" for name, digest in built.manifest.sha256.items()),
        *_shown(built.checks),
        *(f"not there: {name}" for name in built.missing),
        printable(f"{built.manifest.compiler}; KMDF {built.manifest.kmdf}; {built.manifest.label}", 400),
    ]
    say_result(document, lines, json=json)
    return ExitCode.HOLDS if ok else ExitCode.VIOLATED


def _shown(checks: Iterable[ImageCheck]) -> list[str]:
    return [f"{'ok   ' if one.ok else 'WRONG'} {one.name:<20}{printable(one.detail, 400)}" for one in checks]


def sign(
    path: Driver,
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Sign with this certificate instead of a test one.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="The certificate's private key.")] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder of the test certificate, created if missing; next to FILE by default.",
        ),
    ] = None,
) -> None:
    """Sign the driver in place, and create its INF file's catalog, with a test certificate created on first use."""
    from harness.driver import certificate as certificates
    from harness.driver.catalog import sign_package
    from harness.history.private import open_regular

    if (certificate is None) != (key is None):
        raise UsageError("a certificate without its key, or a key without its certificate", hint="Give both.")
    with system_errors(
        f"cannot sign {path}",
        hint=f"Make a driver to sign: {invocation('driver', 'build', '--out', path.parent)}",
        kind=UsageError,
    ):
        open_regular(path).close()
    if certificate is None or key is None:
        signer = certificates.ensure(keys or path.parent / "keys")
    else:
        signer = certificates.Certificate(certificate, key)
    for signed in sign_package(path, signer, Deadline(SIGN_SECONDS, "signing the driver")):
        say(f"{signed}: signed with {signer.pem}")
    if certificate is None:
        say(f"a guest in test mode must be told to trust {signer.der}")


def check(
    path: Driver,
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The certificate that must have signed it.")
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Do not require a signature.")] = False,
    json: Json = False,
) -> int:
    """Check what Windows requires of the image. Exits with 1 if anything is wrong."""
    from harness.driver import manifest
    from harness.driver.image import ImageCheck, check_image
    from harness.driver.signature import check_signature

    checks: list[ImageCheck] = check_image(path)
    if not unsigned:
        checks.append(check_signature(path, certificate, Deadline(SIGN_SECONDS, "checking the signature")))
    record = manifest.load(path)
    if record is not None:
        same = record.sha256.get(path.name) == manifest.digest(path)
        checks.append(
            ImageCheck("manifest", same, record.label if same else "the file is not the one that was built")
        )
    ok = all(one.ok for one in checks)
    document: DriverCheckDocument = {"path": str(path), "ok": ok, "checks": checks}
    say_result(document, _shown(checks), json=json)
    return ExitCode.HOLDS if ok else ExitCode.VIOLATED


group = command_group(
    "Build, sign and check the guest driver on Linux.",
    build=build,
    sign=sign,
    check=check,
    manifest=driver_manifest.manifest,
)
