# SPDX-License-Identifier: MIT
"""Generates one straight-line function for each kind of record from the rules: what a judge does with such a record.

A generic loop over the rules of a kind costs more than most predicates. So the functions are generated as source text.
A function updates the model with the record, calls each rule of the kind with the model's result, and counts what holds.
A rule that raises makes only itself unknown. ``python -m harness.contract.dispatch`` prints the text.

A rule on samples that names its fields (``Rule.same``) is not called while none of them changes: it still holds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple, get_args

from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Rule
from harness.contract.state.entities import Sample
from harness.contract.state.merge import MergerRecord
from harness.contract.state.model import COMPLETED, Model
from harness.history.driver import AnyDriverRecord, DriverRecord
from harness.history.record import HostRecord, Record

RECORDS: tuple[type[Record], ...] = (
    *get_args(HostRecord),
    *get_args(AnyDriverRecord),
    *get_args(MergerRecord),
)
"""The kinds of record that a judge takes: those of a history, and those that the merger makes."""

Handler = Callable[[Any], None]
"""A function that takes one record, or one subject that the model emits."""


@lru_cache(maxsize=8)
def subjects(rules: tuple[Rule, ...]) -> tuple[type, ...]:
    """Return the kinds of subject that the model emits, as opposed to records."""
    asked = dict.fromkeys(kind for rule in rules for kind in rule.on)
    return tuple(kind for kind in asked if kind not in RECORDS and kind is not Sample)


def source(
    kind: type, rules: Sequence[Rule], taken_in: Collection[type], shown: Collection[type] = ()
) -> str:
    """Return the source text of the function for one kind.

    The model takes in records of the kinds ``taken_in``. Those of the kinds ``shown`` go to the checker first.
    :class:`Sample` has two functions: one calls all rules on samples, the other those whose fields changed.
    """
    if kind is Sample:
        steady = [rule for rule in rules if rule.steady]
        lines = [
            "def Sample(record):",
            *_asks(Sample, rules, subject="record"),
            "    return",
            "",
            "def changed(stream, record):",
            "    settled = True",
            *_asks(Sample, steady, subject="record", settled=True),
            "    model.sampled(stream, record)",
            "    if settled:",
            "        model.settle(record)",
        ]
    elif kind in RECORDS:
        lines = _record(kind, rules, taken_in=kind in taken_in, shown=kind in shown)
    else:
        lines = [f"def {kind.__name__}(subject):", *(_asks(kind, rules) or ["    pass"])]
    return "\n".join([*lines, ""])


def _name(rule: Rule) -> str:
    return re.sub(r"\W", "_", rule.id)


def _record(kind: type[Record], rules: Sequence[Rule], *, taken_in: bool, shown: bool) -> list[str]:
    """Return the function for one kind of record."""
    lines = [f"def {kind.__name__}(record):", "    model.at += 1"]
    if shown:
        lines.append(f"    show_{kind.__name__}(record)")
    if issubclass(kind, DriverRecord):
        lines += _sample(rules)
    if kind in COMPLETED:
        return [*lines, f"    subject = take_{kind.__name__}(record)", *_asks(kind, rules)]
    if taken_in:
        lines.append(f"    take_{kind.__name__}(record)")
    return [*lines, *_asks(kind, rules, subject="record")]


def _sample(rules: Sequence[Rule]) -> list[str]:
    """Return what is done with every driver record: find its stream, call the rules on samples, take the sample."""
    # The model itself takes the counts of processors and groups from each sample in which they change.
    fields = dict.fromkeys(
        ["active", "groups", *(field for rule in rules if rule.steady for field in rule.same)]
    )
    rising = dict.fromkeys(field for rule in rules if rule.steady for field in rule.rising)
    unchanged = "".join(f" and record.{field} == level.{field}" for field in fields)
    unchanged += "".join(f" and record.{field} >= last.{field}" for field in rising)
    return [
        "    stream = model.streams.get((record.boot, record.driver))",
        "    if stream is None:",
        "        stream = model.enter(record)",
        "        begun(record)",
        "    else:",
        "        model.stream = stream",
        "    if blanks and record.driver in blanks:",
        "        record = blanked(record)",
        "    else:",
        *_indented(_asks(Sample, [rule for rule in rules if not rule.steady], subject="record")),
        "        level, last = model.level, stream.last",
        f"        if level is not None and last is not None{unchanged}:",
        "            model.steady += 1",
        "            model.previous_active = model.active",
        "            stream.last = record",
        "            stream.last_at = model.at",
        "            processors = model.processors",
        "            if record.cpu not in (processors.ran if record.irql < 2 else processors.ran_high):",
        "                model.ran(record)",
        "        else:",
        "            changed(stream, record)",
    ]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _asks(kind: type, rules: Sequence[Rule], *, subject: str = "subject", settled: bool = False) -> list[str]:
    """Call each rule of one kind, count what holds, and hand anything else to the rule's tally."""
    lines = []
    for rule in rules:
        if kind not in rule.on:
            continue
        conditions = [given for asked, given in zip(rule.on, rule.given, strict=True) if asked is kind]
        name, given = _name(rule), "" if "" in conditions else " or ".join(conditions)
        given = re.sub(r"\bsubject\b", subject, given)
        if given:
            lines.append(f"    if {given}:")
        ask = [
            "    try:",
            f"        said = ask_{name}({subject}, model)",
            "    except Exception as error:",
            *(["        settled = False"] if settled else []),
            f"        on_{name}.raised(error)",
            "    else:",
            "        if said is True:",
            f"            on_{name}.held += 1",
        ]
        if settled:
            ask += ["        else:", "            settled = False"]
            ask += ["            if said is not None:", f"                on_{name}.take(said)"]
        else:
            ask += ["        elif said is not None:", f"            on_{name}.take(said)"]
        lines += _indented(ask) if given else ask
    return lines


class _SharedCode(NamedTuple):
    """What all judges of one set of rules share.

    ``asked`` are the predicates by their names in the generated text, ``counted`` the names of the tallies, ``taken`` and
    ``shown`` those of what takes in and is shown records of a kind. ``codes`` are the compiled functions, each compiled on
    first use.
    """

    asked: dict[str, Any]
    counted: tuple[str, ...]
    taken: Mapping[type, str]
    shown: Mapping[type, str]
    codes: dict[type, CodeType]


@lru_cache(maxsize=8)
def _shared(rules: tuple[Rule, ...]) -> _SharedCode:
    names = [_name(rule) for rule in rules]
    asked = {f"ask_{name}": rule.check for name, rule in zip(names, rules, strict=True)}
    taken, shown = ({kind: f"{does}_{kind.__name__}" for kind in RECORDS} for does in ("take", "show"))
    return _SharedCode(asked, tuple(f"on_{name}" for name in names), taken, shown, {})


def functions(
    model: Model, rules: tuple[Rule, ...], tallies: Sequence[Any], shown: Mapping[type, Handler], blanks: Mapping[str, Any],
    blanked: Callable[[Any], Any], begun: Handler,
) -> Callable[[type], Handler]:  # fmt: skip
    """Return a maker of functions for one judge: it takes a kind of record or emitted subject and returns its function.

    ``tallies`` count the outcomes of ``rules``, in the same order. ``shown`` is called with records of its kinds before
    the model is. The records of a driver in ``blanks`` are replaced by the result of ``blanked``. ``begun`` is called with
    the first record of each stream.
    """
    shared = _shared(rules)
    codes = shared.codes
    # Equal names, another judge: a copy is faster than a new dictionary.
    scope = shared.asked.copy()
    scope.update(zip(shared.counted, tallies, strict=True))
    scope.update(model=model, blanks=blanks, blanked=blanked, begun=begun)
    scope.update([(shared.taken[kind], taken) for kind, taken in model.update.items()])
    scope.update([(shared.shown[kind], show) for kind, show in shown.items()])

    def made(kind: type) -> Handler:
        code = codes.get(kind)
        if code is None:
            if kind not in RECORDS and issubclass(kind, Record):
                raise KeyError(kind)
            text = source(kind, rules, model.update, shown)
            code = codes[kind] = compile(text, f"<{kind.__name__}, generated from the rules>", "exec")
        exec(code, scope)  # noqa: S102 - the text is made from names and conditions that the rules declare
        handler: Handler = scope[kind.__name__]
        return handler

    made(Sample)
    return made


if __name__ == "__main__":
    every = all_rules()
    taken_in = Model(lambda _kind, _subject: None).update
    sys.stdout.write(
        "\n\n".join(source(kind, every, taken_in) for kind in (*RECORDS, Sample, *subjects(every)))
    )
