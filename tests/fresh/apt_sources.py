# SPDX-License-Identifier: MIT
"""APT sources: where this machine gets Debian's packages, rewritten for another release of Debian.

Both formats of sources.list(5) are read and deb822 is written. Entries that do not lead to Debian's own archive (whose
component ``main`` carries the release's codename) are left out, as are source packages and media.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

Stanza = dict[str, str]
"""The fields of one entry in deb822 format, by their names."""

ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>\S.*)"
)
OPTIONS = {"arch": "Architectures", "lang": "Languages", "target": "Targets"}
"""Options of the one-line format whose deb822 field is not their own name, capitalised."""


def stanzas(text: str) -> Iterator[Stanza]:
    """Yield the entries of a file in deb822 format. Continuation lines stay part of their field."""
    for block in re.split(r"\n[ \t]*\n", text):
        fields: Stanza = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and name:
                fields[name] += f"\n{line}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().title()
                fields[name] = value.strip()
        if fields:
            yield fields


def one_line(text: str) -> Iterator[Stanza]:
    """Yield the ``deb`` entries of a file in one-line format."""
    for line in text.splitlines():
        found = ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if found is None:
            continue
        options = (word.partition("=") for word in (found["options"] or "").split())
        yield {
            "Types": "deb",
            "Uris": found["uri"],
            "Suites": found["suite"],
            "Components": found["components"],
            **{OPTIONS.get(name, name.title()): value.replace(",", " ") for name, _, value in options},
        }


def sources(machine: Path, codename: str, wanted: str) -> list[Stanza]:
    """Return the entries for Debian's release ``wanted`` on the machine at ``machine``, which runs ``codename``."""
    apt = machine / "etc" / "apt"
    found: list[Stanza] = []
    for path in (apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))):
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for entry in stanzas(text) if path.suffix == ".sources" else one_line(text):
            suites = [
                re.sub(rf"^{codename}", wanted, word)
                for word in entry.get("Suites", "").split()
                if re.fullmatch(rf"{codename}([-/].*)?", word)
            ]
            binary = "deb" in entry.get("Types", "").split() and "main" in entry.get("Components", "").split()
            enabled = entry.get("Enabled", "yes").lower() not in ("no", "false", "0", "off")
            if suites and binary and enabled and "cdrom:" not in entry.get("Uris", ""):
                found.append({**entry, "Types": "deb", "Suites": " ".join(suites)})
    return found


def text_of(entries: list[Stanza]) -> str:
    """Return a file in deb822 format."""
    return "\n".join("".join(f"{name}: {value}\n" for name, value in entry.items()) for entry in entries)


def acquire_options(dump: str) -> str:
    """Return, from what ``apt-config dump`` prints, the settings of how packages are fetched: proxies, retries and the like."""
    lines = re.findall(r'^Acquire::.* ".*";$', dump, re.MULTILINE)
    groups = ("IndexTargets", "Changelogs", "CompressionTypes", "cdrom")
    return "".join(
        f"{line}\n"
        for line in lines
        if line.split("::")[1].split()[0] not in groups and not line.endswith(' "";')
    )
