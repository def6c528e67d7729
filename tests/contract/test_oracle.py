# SPDX-License-Identifier: MIT
"""The checker agrees with the slow judge on small histories, legal and illegal."""

from __future__ import annotations

from contract.oracle import SCOPE, grows_untold
from contract.oracle import violated as by_definition
from contract.oracle_registrations import SCOPE as REGISTRATIONS
from contract.oracle_registrations import violated as of_registrations
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import Verdict

FIELDS = st.sampled_from(
    ["", "", "", "", "", "", "{active=2}", "{active=4}", "{number=4}", "{mask=3}", "{mask=31}"]
)


@st.composite
def words(draw: st.DrawFn) -> str:
    """A callback, an arrival, overlapping callbacks of two drivers, or a quiet moment."""
    kind = draw(st.sampled_from(["call"] * 6 + ["arrival", "overlap", "quiet"]))
    name, number = draw(st.sampled_from("ab")), draw(st.sampled_from([2, 2, 2, 3]))
    if kind == "quiet":
        return "Q"
    if kind == "arrival":
        return f"{name}:V{draw(FIELDS)}"
    if kind == "overlap":
        inside = draw(st.sampled_from(["S", "C", "F"]))
        other = "b" if name == "a" else "a"
        return f"{name}:<S{number} {other}:{inside}{number} {name}:S{number}>"
    state = draw(st.sampled_from(["S", "S", "S!", "C", "C", "F"]))
    fields, veto = draw(FIELDS), "!" if state.endswith("!") else ""
    return f"{name}:{state[0]}{number}{fields}{veto}"


TRACES = st.lists(words(), min_size=1, max_size=8).map(" ".join)


@settings(max_examples=examples(30))
@example("a:S2 b:S2 a:C2 a:S2 a:C2")
@example("a:S2 a:C2 a:F2 b:S2 b:C2")
@given(TRACES)
def test_the_checker_agrees_with_the_definition(text: str) -> None:
    """The same rules are violated, by one pass over a stream and by sentences over all events."""
    records = trace(f"{'' if 'a:' in text else 'with a '}{'' if 'b:' in text else 'with b '}+cpu {text}")
    rules = judge(records).rules
    streamed = {rule.rule for rule in rules if rule.verdict is Verdict.VIOLATED and rule.rule in SCOPE}
    defined = by_definition(records, {"a", "b"})
    either = {"SYNC-ALL-REGISTERED"} if grows_untold(records) else set()
    assert defined | either == streamed | either


@st.composite
def registrations(draw: st.DrawFn) -> str:
    """A registration of one driver while another is registered, right or wrong, and what is called afterwards."""
    processors = draw(st.integers(1, 3))
    legal = [f"{state}{number}" for state in "SC" for number in range(processors)]
    words = st.builds(
        lambda who, state, number: f"{who}{state[0]}{number}{state[1:]}",
        st.sampled_from(["", "", "", "", "b:"]),
        st.sampled_from(["S", "S", "S", "S!", "C", "C", "F"]),
        st.integers(0, 3),
    )
    inside = draw(st.one_of(st.lists(words, max_size=7), st.permutations(legal)))
    begin, end = draw(st.sampled_from(["[]", "()"]))
    null, add = draw(st.sampled_from(["", "", "0"])), draw(st.sampled_from(["", "+cpu"]))
    later = draw(st.lists(words, max_size=2))
    return f"cpus={processors} with b {begin} {' '.join(inside)} {end}{null} Q {add} {' '.join(later)}"


@settings(max_examples=examples(30))
@example("cpus=1 with b [ S1 ]")
@example("cpus=2 with b [ S0 S1! S0 F0 ]0")
@given(registrations())
def test_the_checker_agrees_with_the_definition_of_registrations(text: str) -> None:
    """With and without ADD_EXISTING, with an error in a Start, and refused."""
    records = trace(text)
    rules = judge(records).rules
    streamed = {
        rule.rule for rule in rules if rule.verdict is Verdict.VIOLATED and rule.rule in REGISTRATIONS
    }
    defined, either = of_registrations(records)
    assert defined | either == streamed | either
