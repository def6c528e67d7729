# SPDX-License-Identifier: MIT
"""The open questions of the contract: contradictions between pages (X), and what no page says (U)."""

from __future__ import annotations

from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Level

OPEN_QUESTIONS = {
    "X1": "when Start is called",
    "X2": "what registration returns after a veto among existing processors",
    "X3": "who gets Failure after a veto",
    "X4": "whether an interface means a running processor",
    "X5": "what `Status` of the context means",
    "X6": "counting bits of the affinity mask",
    "X7": "Unload and asynchronous registrations",
    "X8": "editions with processor hot add",
    "U1": "is the processor started at Start, and counted?",
    "U2": "does the vetoing driver get Failure at a hot add?",
    "U3": "do later drivers still get Start after a veto, also of a client that logs nothing?",
    "U4": "what does the operation status hold at the first Start, and do callbacks share it?",
    "U5": "what does it hold at Complete and at Failure?",
    "U6": "what is `Status` in Start, in Complete, and in Failure for existing processors?",
    "U7": "is NULL returned after a veto among existing processors?",
    "U8": "in which order are existing processors told?",
    "U9": "in which order are registrations called?",
    "U10": "are simultaneous adds serialised?",
    "U11": "what happens when an add meets a registration?",
    "U12": "what does deregistering wait for, and where may it be called?",
    "U13": "on which thread and processor do callbacks run?",
    "U14": "at which instant do counts and masks change?",
    "U15": "which index does a new processor get, and is one used again?",
    "U16": "can an index be converted at Start?",
    "U17": "does the arrival come before or after Complete?",
    "U18": "when does the rebalance come, relative to either notification?",
    "U19": "is there an arrival for an add that failed?",
    "U20": "which processor does a link's name stand for?",
    "U21": "how many interfaces has a processor, and are arrivals joined?",
    "U22": "what may the synchronous callback not do?",
    "U23": "are processors that start late during boot reported?",
    "U24": "what is told across hibernation and hot replace?",
    "U25": "which trace buffers does an added processor get?",
    "U26": "which editions after Server 2012?",
    "U27": "client editions and ARM64?",
    "U28": "what does a registration get that is made during an attempt?",
    "U29": "is a failed add tried again (at any time before the next processor command, in any order of registrations), and how does its device look?",
    "U30": "are memory ranges there at the arrival, and how many arrivals has a DIMM?",
    "U31": "what is in the reserved field of the context's processor number?",
    "U32": "do all calls for existing interfaces come before the registration returns?",
    "U33": "does Windows report to ACPI how adding a plugged device ended?",
    "U34": "what if a callback never returns?",
}
"""By clause, in the wording of docs/contract.md; for a contradiction, its subject."""

EDITIONS = ("X8", "U26")
"""Answered by whether the guest accepted a processor while it ran."""

REPORTED = "U33"
"""Answered by the ``_OST`` of each attempt."""

ALSO = {"U1": ("START-NOT-COUNTED",), "U7": ("ADDEX-VETO-NULL",), "U19": ("ASYNC-NOT-ON-FAILURE",)}
"""Rules that answer a question and name a clause of another section."""


def answering(question: str) -> list[Rule]:
    """Return the rules that answer an open question: those that observe it, and warnings, which say yes or no to it."""
    return [
        rule
        for rule in all_rules()
        if rule.level in (Level.OBSERVE, Level.WARN)
        and (question in rule.clauses.split(", ") or rule.id in ALSO.get(question, ()))
    ]
