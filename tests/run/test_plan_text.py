# SPDX-License-Identifier: MIT
"""A plan that a program writes as text is the same plan when it is read."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.run import operation as op
from harness.run.plan import MachineWishes, Plan, built_in_plans, decode_plan
from harness.run.plan_text import plan_text
from harness.size import Size

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

OPERATIONS = st.one_of(
    st.builds(
        op.AddCpu,
        slot=st.none() | st.integers(0, 4095),
        id=st.none() | WORDS,
        expect=st.just("refused"),
        saying=WORDS,
        settle=st.booleans(),
        timeout=st.none() | st.floats(0.001, 3600),
    ),
    st.builds(
        op.AddDimm, size=st.sampled_from([Size("128 MiB"), Size("1 GiB")]), node=st.none() | st.integers(0, 7)
    ),
    st.builds(op.WaitFor, what=st.sampled_from(["start", "ost"]), count=st.integers(0, 9)),
    st.builds(op.VetoNext, status=st.integers(0x80000000, 0xFFFFFFFF)),
    st.builds(op.Expect, processors=st.none() | st.integers(0, 9), starts=st.none() | st.just(0)),
    st.just(op.Reset()),
)

PLANS = st.builds(
    Plan,
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    summary=WORDS,
    driver=st.booleans(),
    machine=st.builds(
        MachineWishes, processors=st.none() | st.integers(1, 8), memory=st.none() | st.just(Size("1 GiB"))
    ),
    do=st.lists(OPERATIONS, min_size=1, max_size=5),
)


@settings(max_examples=examples(50), deadline=None)
@given(PLANS)
def test_text_decodes_to_the_same_plan(plan: Plan) -> None:
    """Whatever words, numbers and operations a plan has."""
    assert decode_plan(plan_text(plan), name="made.toml") == plan


@pytest.mark.parametrize("name", built_in_plans())
def test_built_in_plans_survive(name: str) -> None:
    """So do the plans that come with the harness."""
    plan = built_in_plans()[name]
    assert decode_plan(plan_text(plan), name="made.toml") == plan
