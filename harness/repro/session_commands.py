# SPDX-License-Identifier: MIT
"""The commands of a session: what can be typed at its prompt besides the operations of a plan, and the help on all."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from harness.choice import closest
from harness.contract.rules.catalogue import all_rules
from harness.errors import UsageError
from harness.repro.typed_operation import KINDS, explained, fields_of, wrapped

ELSEWHERE = {
    "?": "help", "h": "help", "exit": "quit", "q": "quit", "next": "step", "n": "step", "s": "step",
    "run": "continue", "c": "continue", "cont": "continue", "break": "until", "b": "until", "monitor": "attach",
    "print": "records", "history": "records", "status": "check", "load": "restore",
}  # fmt: skip
"""Commands of debuggers and shells that a user may try here, and what they are called here."""


class SessionCommand(NamedTuple):
    """A command besides the operations: its arguments, what it does, and its line of ``help``."""

    takes: str
    does: str
    line: str


COMMANDS: dict[str, SessionCommand] = {
    "step": SessionCommand("[N]", "Execute the plan's next operation, or the next N.", "the plan"),
    "continue": SessionCommand("", "Execute the rest of the plan.", "the plan"),
    "until": SessionCommand("RULE|RECORD", "Execute until RULE is violated or RECORD arrives.", "the plan"),
    "plan": SessionCommand("", "Show the executed and the remaining operations.", "the plan"),
    "records": SessionCommand("[N|KIND]", "Show the last records, or those of a kind.", "what happened"),
    "events": SessionCommand("[NAME]", "Show QEMU's events so far.", "what happened"),
    "check": SessionCommand("", "Judge the history so far.", "what happened"),
    "explain": SessionCommand("[RULE]", "Explain the violated rules, or one rule.", "what happened"),
    "qmp": SessionCommand(
        "COMMAND [key=value …]", "Send a QMP command; values are JSON or words.", "the machine"
    ),
    "snapshot": SessionCommand("NAME", "Name this place, for 'restore'.", "places"),
    "restore": SessionCommand("NAME", "Repeat all up to that place on a fresh guest.", "places"),
    "dump": SessionCommand("", "Save a dump of the guest's memory.", "the machine"),
    "screenshot": SessionCommand("", "Save a picture of the screen.", "the machine"),
    "save": SessionCommand(
        "FILE.toml|test_FILE.py", "Write the operations: a plan, or a pytest test.", "keep it"
    ),
    "attach": SessionCommand("", "Show how to attach a monitor, gdb or a viewer.", "the machine"),
    "help": SessionCommand("[NAME]", "List all commands, or explain one.", "the session"),
    "quit": SessionCommand("", "End the guest and judge the run, as Ctrl-C does.", "the session"),
}
"""The commands of a session in the order of ``help``. The operations of a plan follow."""


def names() -> list[str]:
    """Return every word that can begin a line."""
    return [*COMMANDS, *KINDS]


def unknown(name: str) -> UsageError:
    """Return the error for a word that begins no line, with what the user may have meant."""
    hint = f"{suggested(name, names())} help lists them.".strip()
    if known := ELSEWHERE.get(name):
        hint = f"Here it is called {known!r}. help lists the others."
    elif name == "repro":
        hint = "This is its session: help lists what can be typed here, quit leaves it."
    elif name in ("harness", "./lab"):
        hint = "This is a prompt of a session, not a shell: type the command in another terminal."
    return UsageError(f"no command or operation is called {name!r}", hint=hint)


def check_words(name: str, words: list[str]) -> None:
    """Raise UsageError if a command does not take so many words."""
    takes = COMMANDS[name].takes
    most = 1000 if "…" in takes else 1 if takes else 0
    least = 0 if not takes or takes.startswith("[") else 1
    if not least <= len(words) <= most:
        raise UsageError(
            f"{name} takes {takes or 'no words'}, got {repr(' '.join(words)) if words else 'nothing'}",
            hint=f"help {name}",
        )


def help_lines(name: str = "") -> list[str]:
    """Return what ``help`` says of a command or an operation, or of all. Raises UsageError for another word."""
    if name in KINDS:
        return explained(name)
    if not name:
        return overview()
    if name not in COMMANDS:
        raise unknown(name)
    lines = [f"{name} {COMMANDS[name].takes}".rstrip(), f"  {COMMANDS[name].does}"]
    if name == "until":
        kinds = ", ".join(sorted(RECORD_KINDS))
        lines += wrapped("It stops after the operation in which that arrived.")
        lines += wrapped("RULE: an id of 'harness rules', or 'violated' for any.")
        lines += wrapped(f"RECORD: the number of a record of the recorded run, or one of {kinds}.")
    return lines


def overview() -> list[str]:
    """Return what ``help`` says: all commands and operations, on less than a screen of 80 columns and 24 lines."""
    together: dict[str, list[str]] = {}
    for name, command in COMMANDS.items():
        together.setdefault(command.line, []).append(f"{name} {command.takes}".rstrip())
    lines = [f"{what + ':':<15}{', '.join(names)}" for what, names in together.items()]
    lines += ["Operations of a plan:", *wrapped(", ".join(KINDS)), ""]
    return [
        *lines,
        "help NAME explains one of them. Fields are given as key=value:",
        "  add-dimm 256MiB node=1",
    ]


QUERIES = ("query-status", "query-cpus-fast", "query-hotpluggable-cpus", "query-memory-devices", "query-memory-size-summary",
    "query-acpi-ospm-status", "query-chardev", "query-version", "qom-get", "qom-list",
)  # fmt: skip
"""The QMP commands that completion offers. Any other can be typed."""


def _kinds() -> frozenset[str]:
    from typing import get_args

    from harness.history.driver import AnyDriverRecord
    from harness.history.record import HostRecord
    from harness.repro.record_tape import ARRIVALS, NAMES

    kinds = {str(kind.__struct_config__.tag) for kind in (*get_args(AnyDriverRecord), *get_args(HostRecord))}
    return frozenset({*kinds, *NAMES.values(), *ARRIVALS.values()})


RECORD_KINDS = _kinds()
"""The names of records at the prompt."""


def suggested(word: str, known: Iterable[str]) -> str:
    """Return a hint with the word most like ``word``. The known words are too many to be listed."""
    close = closest(word, known)
    return f"Did you mean {close[0]!r}?" if close else ""


def candidates(words: list[str], last: str, places: Collection[str]) -> list[str]:
    """Return what may follow ``words``, whose next word begins with ``last``. ``places`` can be restored."""
    if not words:
        return names()
    name = words[0]
    if name in KINDS:
        key, equals, _ = last.partition("=")
        fields = fields_of(name)
        if equals:
            return [f"{key}={one}" for field in fields if field.name == key for one in field.choices]
        first = next((field for field in fields if field.required), None)
        direct = first.choices if first is not None and len(words) == 1 else []
        given = {word.partition("=")[0] for word in words[1:]}
        return [*direct, *(f"{field.name}=" for field in fields if field.name not in given)]
    rules = [rule.id for rule in all_rules()]
    return {
        "until": [*RECORD_KINDS, "violated", *rules],
        "explain": rules,
        "records": [*RECORD_KINDS],
        "restore": [*places],
        "help": names(),
        "qmp": [*QUERIES] if len(words) == 1 else [],
    }.get(name, [])
