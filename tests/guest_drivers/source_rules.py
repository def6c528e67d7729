# SPDX-License-Identifier: MIT
"""Rules for the driver's sources, checked on their text: headers of callbacks, pageable code, circles of modules.

``python tests/guest_drivers/source_rules.py`` prints each folder's modules with the modules they use, lowest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import msgspec

DRIVER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify"
SOURCES = DRIVER / "src"
FOLDERS = ("nt/core", "wine", "twin")
"""What stands for Windows, a folder a room. In ``host`` three programs each have their own definition of some names."""

ROLES = (
    r"EVT_\w+|DRIVER_INITIALIZE|DRIVER_NOTIFICATION_CALLBACK_ROUTINE|PROCESSOR_CALLBACK_FUNCTION|KSTART_ROUTINE|"
    r"KDEFERRED_ROUTINE"
)
"""Function types of the headers of Windows; a callback is declared with one of them."""

OWN_ROLES = "HPN_REQUEST_ROUTINE"
"""Function types of the driver: called through a table by the driver itself."""

DECLARED = re.compile(rf"^(?:static )?(?P<role>{ROLES}|{OWN_ROLES}) (?P<name>\w+);$", re.MULTILINE)
FUNCTION = re.compile(
    r"(?P<comment>^/\*(?:(?!\*/)[\s\S])*?\*/\n)?(?P<head>(?:^(?:_\w+_(?:\(.*\))?|static|\w[\w *]*)\n)+)"
    r"^(?P<name>DriverEntry|Hpn\w+)\((?P<parameters>[^{};]*?)\)\n\{\n(?P<body>.*?)^\}$",
    re.MULTILINE | re.DOTALL,
)
PASSIVE = re.compile(
    r"^_IRQL_requires_\(PASSIVE_LEVEL\)\n(?:_\w+_(?:\(.*\))?\n)*[^\n]+\n(?P<name>Hpn\w+)\(", re.MULTILINE
)
ALLOCATED = re.compile(r"^#pragma alloc_text\((?:PAGE|INIT), (?P<name>\w+)\)$", re.MULTILINE)
PAGE = re.compile(
    r"^ \* Page: https://learn\.microsoft\.com/windows-hardware/drivers/ddi/\w+/n[cf]-\w+-\w+$", re.MULTILINE
)
OUTSIDE = re.compile(
    r"^(?P<head>(?:[A-Za-z_][^\n;{}()]*\n)*(?:[A-Za-z_][^\n;{}()]*[ *])?)(?P<name>\w+)\((?P<parameters>[^;{}]*)\)\n\{$"
    r"|^(?P<kind>(?!(?:extern|typedef)\b)[A-Za-z_][\w ]*[ *])(?P<variable>\w+)(?:\[[^]\n]*\])?(?: = [^\n]*)?[;{]$",
    re.MULTILINE,
)
"""A function or a variable that is defined outside of every function, in the NT layer's style or in Linux'."""
ATTRIBUTE = re.compile(r"__attribute__\(\(.*?\)\)(?= )|__declspec\(\w+\)")
INCLUDE = re.compile(r'^#include "(?P<name>\w+)\.h"$', re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')


class Function(msgspec.Struct, frozen=True):
    """One function: the comment above it, its annotations and type, the names of its parameters, and its body."""

    module: str
    name: str
    comment: str
    head: str
    parameters: list[str]
    body: str


def read(folder: Path = SOURCES) -> dict[str, str]:
    """Return the text of each source and header by its file name."""
    return {path.name: path.read_text() for path in sorted(folder.glob("*.[ch]"))}


def functions(files: Mapping[str, str]) -> list[Function]:
    """Return the functions that the sources define."""
    return [one for name, text in files.items() if name.endswith(".c") for one in _defined(name, text)]


@cache
def _defined(name: str, text: str) -> list[Function]:
    return [
        Function(
            name.removesuffix(".c"), found["name"], found["comment"] or "", found["head"],
            [each.split()[-1].lstrip("*") for each in found["parameters"].split(",") if each.split() != ["VOID"]],
            found["body"],
        )
        for found in FUNCTION.finditer(text)
    ]  # fmt: skip


def roles(files: Mapping[str, str]) -> dict[str, str]:
    """Return the function type of each function that is declared with one."""
    return {name: role for text in files.values() for name, role in _declared(text).items()}


@cache
def _declared(text: str) -> dict[str, str]:
    return {found["name"]: found["role"] for found in DECLARED.finditer(text)}


@cache
def _named(text: str) -> list[str]:
    """Return the driver's own names in the code of a file, but for those that are called."""
    code = STRING.sub("", COMMENT.sub("", DECLARED.sub("", ALLOCATED.sub("", text))))
    return re.findall(r"\b(Hpn\w+)\b(?!\s*\()", code)


def callback_faults(files: Mapping[str, str]) -> Iterator[str]:
    """Yield what the comments above the callbacks lack: IRQL, an argument, the return value, the page.

    A function whose address is taken must be declared with a function type, or it would not be found here.
    """
    declared = roles(files)
    defined = {function.name: function for function in functions(files)}
    for name, role in declared.items():
        if name not in defined:
            yield f"{name}: declared as {role} and not defined"
        elif role != OWN_ROLES:
            comment = defined[name].comment
            if not re.search(r"^ \* IRQL: .*(?:PASSIVE|DISPATCH)_LEVEL", comment, re.MULTILINE):
                yield f"{name}: no IRQL"
            listed = comment.partition(" * Arguments:\n")[2].partition(" * Returns:")[0]
            for parameter in defined[name].parameters:
                if not re.search(rf"^ \*     {parameter}: \w", listed, re.MULTILINE):
                    yield f"{name}: no argument {parameter}"
            if not re.search(r"^ \* Returns: \w", comment, re.MULTILINE):
                yield f"{name}: no return value"
            if not PAGE.search(comment):
                yield f"{name}: no page"
    for file, text in files.items():
        for used in _named(text):
            if used in defined and used not in declared:
                yield f"{file}: the address of {used}, which is declared without a function type"


def paging_faults(files: Mapping[str, str]) -> Iterator[str]:
    """Yield functions whose PAGED_CODE, section and annotations disagree.

    A pageable function runs at PASSIVE_LEVEL, acquires no spin lock itself (its own code would then run at
    DISPATCH_LEVEL) and is not called while one is held. Every other function that runs at PASSIVE_LEVEL and acquires no
    lock is pageable, too, unless its comment says ``Not pageable``.
    """
    everything = functions(files)
    declared = roles(files)
    allocated = {found["name"] for text in files.values() for found in ALLOCATED.finditer(text)}
    annotated = {found["name"] for text in files.values() for found in PASSIVE.finditer(text)}
    pageable = {function.name for function in everything if "    PAGED_CODE();\n" in function.body}
    for name in sorted(allocated ^ pageable):
        yield f"{name}: {'no PAGED_CODE' if name in allocated else 'no #pragma alloc_text'}"
    for function in everything:
        name = function.name
        at_passive = (
            name in annotated
            or declared.get(name) == OWN_ROLES
            or (name in declared and " * IRQL: PASSIVE_LEVEL" in function.comment)
        )
        locks = "KeAcquireSpinLock(" in function.body
        if name in pageable and not at_passive:
            yield f"{name}: pageable, and nothing says that it runs at PASSIVE_LEVEL"
        if name in pageable and locks:
            yield f"{name}: pageable, and acquires a spin lock"
        if at_passive and not locks and name not in pageable and "Not pageable" not in function.comment:
            yield f"{name}: runs at PASSIVE_LEVEL, acquires no spin lock, and is not pageable"
        held = False
        for line in function.body.splitlines():
            held = (held or "KeAcquireSpinLock(" in line) and "KeReleaseSpinLock(" not in line
            called = pageable & set(re.findall(r"\b(Hpn\w+)\(", line))
            if called and (held or "_Requires_lock_held_" in function.head):
                yield f"{name}: calls the pageable {called.pop()} while it holds a spin lock"


def module_graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the modules that each module uses: by including a header, or by a function or a table of theirs.

    A module is a source and its header.
    """
    owners = {function.name: function.module for function in functions(files)}
    for name, text in files.items():
        for table in re.findall(r"^(?:const )\w+ (Hpn\w+)\[", text, re.MULTILINE):
            owners[table] = name.partition(".")[0]
    graph: dict[str, set[str]] = {name.partition(".")[0]: set() for name in files}
    for name, text in files.items():
        module = name.partition(".")[0]
        code = STRING.sub("", COMMENT.sub("", text))
        used = {found["name"] for found in INCLUDE.finditer(text)}
        if name.endswith(".c"):
            used |= {owners[word] for word in re.findall(r"\bHpn\w+\b", code) if word in owners}
        graph[module] |= used - {module}
    return graph


def file_graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the modules of a folder that each of its modules uses: by including a header, or by a name that it defines.

    A module is a source and its header. Unlike ``module_graph`` this knows no prefix of the names.
    """
    code = {name: ATTRIBUTE.sub("", STRING.sub('""', COMMENT.sub("", text))) for name, text in files.items()}
    owners: dict[str, str] = {}
    local: dict[str, set[str]] = {name: set() for name in files}
    for name, text in code.items():
        for found in OUTSIDE.finditer(text if name.endswith(".c") else ""):
            defined = found["name"] or found["variable"]
            if re.search(r"\bstatic\b", found["head"] or found["kind"] or ""):
                local[name].add(defined)
            else:
                owners[defined] = name.partition(".")[0]
    graph: dict[str, set[str]] = {name.partition(".")[0]: set() for name in files}
    for name, text in code.items():
        module = name.partition(".")[0]
        used = {found["name"] for found in INCLUDE.finditer(files[name]) if f"{found['name']}.h" in files}
        if name.endswith(".c"):
            used |= {owners[word] for word in set(re.findall(r"\w+", text)) - local[name] if word in owners}
        graph[module] |= used - {module}
    return graph


if __name__ == "__main__":
    for room in ("src", *FOLDERS):
        uses = module_graph(read()) if room == "src" else file_graph(read(DRIVER / room))
        print(f"{room}:")
        for each in TopologicalSorter(uses).static_order():
            print(f"    {each:14} {' '.join(sorted(uses[each]))}")
