# SPDX-License-Identifier: MIT
"""CLIXML, turned into text: the XML in which PowerShell writes its streams to stderr without a console.

A blob starts with the line ``#< CLIXML`` and holds one ``Objs`` element. Its ``S`` children are lines of text, whose stream
is the attribute ``S`` (Error, Warning, Verbose, Debug, Information). Its ``Obj`` children are objects, usually
progress records. Characters that XML cannot carry are UTF-16 code units written ``_x000D_``.
The output of native programs is before, between and after the blobs.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.sax.saxutils import unescape

MARKER = "#< CLIXML"
_NAMESPACE = "{http://schemas.microsoft.com/powershell/2004/04}"
_END = "</Objs>"
_CODE_UNITS = re.compile(r"(?:_x[0-9A-Fa-f]{4}_)+")
_LINE = re.compile(r'<S S="(\w+)">([^<]*)</S>')
_PREFIXES = {"warning": "WARNING: ", "verbose": "VERBOSE: ", "debug": "DEBUG: "}


def to_text(raw: str) -> tuple[str, list[str]]:
    """Return ``raw`` with every CLIXML blob replaced by its text, and remarks on what could not be read.

    Progress records are left out, as a console would overwrite them. From a blob that was cut, or is not XML, the complete
    lines are returned.
    """
    if MARKER not in raw:
        return raw, []
    remarks: list[str] = []
    pieces = raw.split(MARKER)
    text = [pieces[0]]
    for piece in pieces[1:]:
        body, end, rest = piece.partition(_END)
        lines, remark = _lines(body + end)
        if remark and remark not in remarks:
            remarks.append(remark)
        text.append("".join(lines))
        text.append(rest.lstrip("\r\n"))
    return "".join(text), remarks


def _lines(blob: str) -> tuple[list[str], str]:
    # expat bounds the expansion of entities. PowerShell never declares any, so a blob with a declaration is not PowerShell's.
    if "<!" in blob:
        return [blob], "stderr: CLIXML with a declaration in it, left as it is"
    try:
        root = ElementTree.fromstring(blob.strip())  # noqa: S314 (no declarations, see above)
    except (ElementTree.ParseError, ValueError):
        found = [_line(kind, unescape(text)) for kind, text in _LINE.findall(blob)]
        return found, "stderr: CLIXML that is cut or damaged; only its whole lines are shown"
    return [_line(node.get("S", ""), node.text or "") for node in root if node.tag == f"{_NAMESPACE}S"], ""


def _line(kind: str, text: str) -> str:
    return _PREFIXES.get(kind.lower(), "") + _CODE_UNITS.sub(_decoded, text).replace("\r\n", "\n")


def _decoded(match: re.Match[str]) -> str:
    units = match.group().replace("x", "").strip("_").split("__")
    return b"".join(int(unit, 16).to_bytes(2, "little") for unit in units).decode("utf-16-le", "replace")
