# SPDX-License-Identifier: MIT
"""The editions of Windows on an installation medium, read from the medium: their order differs from medium to medium.

Media are UDF; their ISO 9660 tree often holds only a note about that. ``sources`` holds one of install.wim,
install.esd and install.swm (Microsoft Learn: "Windows Setup Command-Line Options"; "Split a Windows image file").
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from harness.errors import UsageError
from harness.package import missing_extra
from harness.template.template import Edition, Template
from harness.template.wim import NotWim, WimImage, described, no_images, read_wim

if TYPE_CHECKING:
    import pycdlib

SMALL = 1 << 16
"""The most bytes that are read of a text on the medium."""

IMAGE_FILES = ("install.wim", "install.esd", "install.swm")


EVALUATION = "Eval"
"""The suffix of the ids of evaluation editions."""


def load_pycdlib() -> Any:
    """Return the module. Raises MissingPart with the command that installs it."""
    try:
        import pycdlib
    except ImportError as error:
        raise missing_extra(
            "reading and making ISOs needs pycdlib, which is not installed", "windows"
        ) from error
    return pycdlib


@contextlib.contextmanager
def _opened(iso: Path) -> Iterator[pycdlib.PyCdlib]:
    """Open an ISO. Its errors, here or inside the block, are raised as UsageError."""
    disc = load_pycdlib().PyCdlib()
    try:
        if not stat.S_ISREG(iso.stat().st_mode):
            raise UsageError(f"{iso}: not a file", hint="Give the ISO of the installation medium.")
        with iso.open("rb") as file:
            try:
                disc.open_fp(file)
            except OSError:
                raise
            except Exception as error:
                # pycdlib raises arbitrary Python exceptions for broken structures.
                raise no_images(str(iso), f"not a readable ISO: {_words(error)}") from error
            try:
                yield disc
            finally:
                disc.close()
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(
            f"{iso}: {error.strerror}", hint="Give the path of an ISO that you may read."
        ) from error
    except Exception as error:
        raise no_images(str(iso), f"damaged inside: {_words(error)}") from error


def read_images(iso: Path) -> list[WimImage]:
    """Return the images on an installation medium. Raises UsageError with the file's error, MissingPart."""
    with _opened(iso) as disc:
        return _images(disc, iso, iso.stat().st_size)


def brings_key(iso: Path) -> bool:
    """Return whether the medium installs without a user's product key, as volume media and media with a key do.

    ``sources/ei.cfg`` shows it by its channel or by ``VL``; ``sources/pid.txt`` holds a key (Microsoft Learn: "Windows Setup
    Edition Configuration and Product ID Files (EI.cfg and PID.txt)"). Raises UsageError like :func:`read_images`.
    """
    with _opened(iso) as disc:
        texts = {name: _text(disc, name) for name in ("ei.cfg", "pid.txt")}
    values = _sections(texts["ei.cfg"])
    return (
        values.get("channel", "").casefold().startswith(("volume", "eval"))
        or values.get("vl") == "1"
        or "=" in texts["pid.txt"]
    )


def _sections(text: str) -> dict[str, str]:
    """Return the first line of each section of an ``ei.cfg``, by its name in lower case."""
    found: dict[str, str] = {}
    section = ""
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]").casefold()
        elif line and section:
            found.setdefault(section, line)
    return found


def _text(disc: pycdlib.PyCdlib, name: str) -> str:
    """Return the first bytes of a small text in ``sources``, "" if there is none."""
    try:
        with disc.open_file_from_iso(**_place(disc, name)) as file:
            return str(file.read(SMALL).decode("utf-8-sig", "replace"))
    except _not_there():
        return ""


def _place(disc: pycdlib.PyCdlib, name: str) -> dict[str, str]:
    """Return the name of a file in ``sources``, in the tree that Windows reads."""
    if disc.has_udf():
        return {"udf_path": f"/sources/{name}"}
    if disc.has_joliet():
        return {"joliet_path": f"/sources/{name}"}
    return {"iso_path": f"/SOURCES/{name.upper()};1"}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _images(disc: pycdlib.PyCdlib, iso: Path, size: int) -> list[WimImage]:
    for name in IMAGE_FILES:
        try:
            opened = disc.open_file_from_iso(**_place(disc, name))
        except _not_there():
            continue
        with opened as file:
            length = file.length()
            if length > size:
                raise no_images(
                    str(iso), f"sources/{name} has {length} bytes, the ISO {size}; it is cut short"
                )
            try:
                return read_wim(cast("BinaryIO", file), length)
            except NotWim as error:
                raise no_images(str(iso), f"sources/{name}: {error}") from error
    raise UsageError(
        f"{iso}: holds no sources/install.wim, .esd or .swm",
        hint="Give the ISO of a Windows installation medium, not of drivers, languages or features.",
    )


def _not_there() -> type[Exception]:
    exceptions = load_pycdlib().pycdlibexception
    return cast("type[Exception]", exceptions.PyCdlibInvalidInput)


def choose(template: Template, images: Sequence[WimImage], wanted: str = "") -> tuple[Edition, WimImage]:
    """Return the edition called ``wanted`` ("" for the template's first) and the image that holds it.

    Raises UsageError with what the medium holds instead.
    """
    edition = template.edition(wanted)
    held = "\n".join(["The medium holds:", *(f"  {described(image)}" for image in images)])
    fitting = [image for image in images if image.architecture in ("", "amd64")]
    if template.builds and not any(image.build in template.builds for image in fitting):
        builds = " or ".join(str(build) for build in template.builds)
        raise UsageError(f"{template.name} is build {builds}, which the medium does not hold", hint=held)
    for image in fitting:
        right_build = not template.builds or image.build in template.builds
        if right_build and image.edition in edition.ids and image.installation == edition.installation:
            return edition, image
    raise UsageError(
        f"the medium does not hold {template.name}'s edition {edition.name!r} "
        f"({' or '.join(edition.ids)}, {edition.installation})",
        hint=held,
    )


def is_evaluation(image: WimImage) -> bool:
    """Return whether the image is one for evaluation, which takes no product key and ends after some months."""
    return image.edition.endswith(EVALUATION)
