# SPDX-License-Identifier: MIT
"""A checker of INF files, of the part of their syntax that a KMDF driver for one architecture needs.

It knows the sections and directives that ``hpnotify.inf`` may have (WD: install/general-syntax-rules-for-inf-files.md
and the page of each section) and refuses any other, so that a slip of the pen is no directive that Windows ignores.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

ONE_OF_EACH = {
    "version": {"signature", "class", "classguid", "provider", "catalogfile", "driverver", "pnplockdown"},
    "destinationdirs": {"defaultdestdir"},
    "classinstall32": {"addreg"},
}
"""Sections that every INF file of a device class has once, with exactly these entries."""

SERVICE = {"displayname", "servicetype", "starttype", "errorcontrol", "servicebinary"}
"""What a service-install section must have (WD: install/inf-addservice-directive.md); AddReg may be there too."""

Sections = dict[str, list[tuple[str, list[str]]]]


def _cut(line: str) -> str:
    """Cut a line at its first semicolon outside quotation marks."""
    quoted = False
    for at, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == ";" and not quoted:
            return line[:at]
    return line


def _split(text: str) -> list[str]:
    """Split at commas outside quotation marks."""
    return [part.strip() for part in re.findall(r'((?:"[^"]*"|[^,"])*)(?:,|$)', text)][: text.count(",") + 1]


def parse(text: str) -> tuple[Sections, list[str]]:
    """Return sections by lower-case name, each a list of (key, values), and what is no INF syntax at all.

    A line without ``=`` has the key "". Strings keep their quotation marks.
    """
    sections: Sections = {}
    complaints = []
    current: list[tuple[str, list[str]]] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = _cut(raw).strip()
        if not line:
            continue
        if line.startswith("["):
            name = re.fullmatch(r"\[([\w.]+)\]", line)
            if name is None:
                complaints.append(f"line {number}: {line} is no section")
                continue
            if name[1].lower() in sections:
                complaints.append(f"line {number}: section {name[1]} is there twice")
            current = sections.setdefault(name[1].lower(), [])
            continue
        if current is None:
            complaints.append(f"line {number} belongs to no section")
            continue
        if line.count('"') % 2:
            complaints.append(f"line {number}: a quotation mark is not closed")
        key, equals, value = line.partition("=")
        values = _split(value if equals else line)
        current.append((key.strip().lower() if equals else "", values))
    return sections, complaints


def check(text: str, files: set[str]) -> list[str]:
    """Return all that is wrong with an INF file whose package holds ``files``; nothing if it is right."""
    sections, complaints = parse(text)
    checker = _Checker(sections, files)
    checker.everything(text)
    return complaints + checker.complaints


class _Checker:
    """Walks from the models to everything that they name; a section that nothing names is an error."""

    def __init__(self, sections: Sections, files: set[str]) -> None:
        self.sections = sections
        self.files = files
        self.complaints: list[str] = []
        self.known = {
            *ONE_OF_EACH, "sourcedisksnames", "sourcedisksfiles", "manufacturer", "strings",
        }  # fmt: skip

    def say(self, complaint: str) -> None:
        self.complaints.append(complaint)

    def section(self, name: str, wanted_by: str) -> dict[str, list[str]]:
        self.known.add(name.lower())
        if name.lower() not in self.sections:
            self.say(f"{wanted_by}: there is no section {name}")
        return dict(self.sections.get(name.lower(), []))

    def only(
        self, name: str, entries: dict[str, list[str]], must: set[str], may: AbstractSet[str] = frozenset()
    ) -> None:
        for key in sorted(entries.keys() - must - may):
            self.say(f"[{name}]: {key or 'a line without ='} is no directive of this section")
        for key in sorted(must - entries.keys()):
            self.say(f"[{name}]: {key} is missing")

    def everything(self, text: str) -> None:
        for name, must in ONE_OF_EACH.items():
            self.only(name, self.section(name, "every INF file"), must)
        version = dict(self.sections.get("version", []))
        if version.get("signature") != ['"$Windows NT$"']:
            self.say('[version]: signature is not "$Windows NT$"')
        if not re.fullmatch(
            r"\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", (version.get("classguid") or [""])[0]
        ):
            self.say("[version]: classguid is no GUID")
        if not re.fullmatch(r"\d\d/\d\d/\d{4},(\d{1,5}\.){3}\d{1,5}", ",".join(version.get("driverver", []))):
            self.say("[version]: driverver is no MM/DD/YYYY,w.x.y.z")
        self.registry(dict(self.sections.get("classinstall32", [])))
        disks = self.section("sourcedisksnames", "every INF file")
        sources = self.section("sourcedisksfiles", "every INF file")
        for name, values in sources.items():
            if name not in self.files:
                self.say(f"[sourcedisksfiles]: the package holds no {name}")
            if values[0] not in disks:
                self.say(f"[sourcedisksfiles]: {name} is on disk {values[0]}, which [sourcedisksnames] lacks")
        for _, values in self.sections.get("manufacturer", []):
            models, *decorations = values
            for decoration in decorations:
                if not re.fullmatch(r"NTamd64\.10\.0(\.\.\.\d+)?", decoration):
                    self.say(f"[manufacturer]: {decoration} is no decoration for x64 from Windows 10 on")
                self.models(f"{models}.{decoration}")
        for name in sorted(self.sections.keys() - self.known):
            self.say(f"[{name}]: nothing names this section")
        self.strings(text)

    def models(self, name: str) -> None:
        self.section(name, "[manufacturer]")
        installs = set()
        for _, values in self.sections.get(name.lower(), []):
            install, *hardware = values
            installs.add(install)
            for device in hardware or [""]:
                if not re.fullmatch(r"ROOT\\\w+|PCI\\VEN_[0-9A-F]{4}&DEV_[0-9A-F]{4}", device):
                    self.say(f"[{name}]: {device!r} is no hardware ID")
        for install in sorted(installs):
            self.install(install)

    def install(self, name: str) -> None:
        device = self.section(f"{name}.NT", "[models]")
        self.only(f"{name}.NT", device, {"copyfiles"})
        for files in device.get("copyfiles", []):
            self.section(files, f"[{name}.NT]")
            for key, values in self.sections.get(files.lower(), []):
                if key or values[0] not in dict(self.sections.get("sourcedisksfiles", [])):
                    self.say(f"[{files}]: {values[0]} is not in [sourcedisksfiles]")
        services = self.section(f"{name}.NT.Services", "a device")
        self.only(f"{name}.NT.Services", services, {"addservice"})
        service, flags, section = [*services.get("addservice", []), "", "", ""][:3]
        if flags != "0x00000002":
            self.say(
                f"[{name}.NT.Services]: the service is not made the device's function driver (0x00000002)"
            )
        if section:
            self.service(section)
        wdf = self.section(f"{name}.NT.Wdf", "a KMDF driver")
        self.only(f"{name}.NT.Wdf", wdf, {"kmdfservice"})
        of, library = [*wdf.get("kmdfservice", []), "", ""][:2]
        if of != service:
            self.say(f"[{name}.NT.Wdf]: KmdfService names {of!r}, AddService {service!r}")
        if library:
            self.only(library, self.section(library, f"[{name}.NT.Wdf]"), {"kmdflibraryversion"})

    def service(self, name: str) -> None:
        service = self.section(name, "AddService")
        self.only(name, service, SERVICE, {"addreg"})
        self.registry(service)
        for key, value in (("servicetype", "1"), ("starttype", "3"), ("errorcontrol", "1")):
            if service.get(key, [value]) != [value]:
                self.say(f"[{name}]: {key} is {service[key][0]}, not {value}")
        directory = dict(self.sections.get("destinationdirs", [])).get("defaultdestdir", [""])[0]
        binary = service.get("servicebinary", [""])[0]
        expected = [f"%{directory}%\\{file}" for file in dict(self.sections.get("sourcedisksfiles", []))]
        if binary not in expected:
            self.say(
                f"[{name}]: servicebinary {binary} is not where the file is copied to ({', '.join(expected)})"
            )

    def registry(self, entries: dict[str, list[str]]) -> None:
        for name in entries.get("addreg", []):
            self.section(name, "AddReg")
            for key, values in self.sections.get(name.lower(), []):
                if key or values[0] != "HKR" or not 4 <= len(values) <= 5:
                    self.say(f"[{name}]: {','.join(values)} is no HKR,subkey,name,flags,value")

    def strings(self, text: str) -> None:
        defined = {key for key, _ in self.sections.get("strings", [])}
        body = "\n".join(_cut(line) for line in text.splitlines())
        used = {name.lower() for name in re.findall(r"%([A-Za-z]\w*)%", body)}
        for name in sorted(used - defined):
            self.say(f"[strings]: %{name}% is not there")
        for name in sorted(defined - used):
            self.say(f"[strings]: {name} is used nowhere")
