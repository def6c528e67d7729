# SPDX-License-Identifier: MIT
"""The page of a report: one HTML file that fetches nothing and runs only the script it was built with.

Style and script are the same in all reports, and the page's policy names their digests. Only the data differ between two
reports: a script element of a type that no browser executes. The page's script shows its texts by ``textContent``, so
a guest's text is never parsed as markup.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import Any

import jinja2
import msgspec

from harness.report.page.packed_columns import packed_columns

BUILT = ("web", "built")
"""The folder of the style and the script; ``harness/report/web`` has their sources."""

_ESCAPES = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    "\u2028".encode(): b"\\u2028",
    "\u2029".encode(): b"\\u2029",
}


def page(document: dict[str, Any]) -> bytes:
    """Return the page of a report's document, UTF-8. Raises OSError if the package has no built page.

    The columns and the texts of records are taken out of the document, so that the page shows the verdict before it reads them.
    """
    pieces = document.pop("pieces", [])
    columns = packed_columns(document) if "records" in document else {}
    style, script = _built("report.css"), _built("report.js")
    text: str = _template().render(
        style=style,
        script=script,
        policy=policy(style, script),
        document=data(document),
        columns=columns,
        pieces=pieces,
    )
    return text.encode("utf-8")


def data(value: Any) -> str:
    """Return ``value`` as JSON for a script element: no character of it can end the element."""
    text = msgspec.json.encode(value)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text.decode()


def policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy that allows this style and this script only."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@functools.cache
def _built(name: str) -> str:
    return resources.files("harness.report").joinpath(*BUILT, name).read_text(encoding="utf-8").strip()


@functools.cache
def _template() -> jinja2.Template:
    source = resources.files("harness.report").joinpath("web", "page.html.jinja").read_text(encoding="utf-8")
    # No autoescape: the digests must fit the bytes. `data` makes the JSON harmless.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    return environment.from_string(source)
