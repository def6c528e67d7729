# SPDX-License-Identifier: MIT
"""The scripts that run in Windows: they parse, keep the rules, and take values only as values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from guest.windows.rules import faults, nodes, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import GuestRefused
from harness.guest.windows import answer, script
from harness.guest.windows.script import compose, compose_once, load, names
from harness.transport.powershell import Windows

FOLDER = Path(script.__file__).with_name("scripts")
VALUES: dict[str, Any] = {"string": "it's", "int": 3, "long": 1 << 40, "bool": True, "string[]": ["a", "b"]}


def composed(name: str) -> str:
    """A script with a value for each of its parameters, as it is sent."""
    if name == script.ONCE:
        return compose_once("ready", directory="C:\\x", command="0123456789abcdef")
    return compose(name, **{each: VALUES[kind] for each, kind in load(name).parameters.items()})


@pytest.mark.parametrize("name", names())
def test_every_script_keeps_the_rules(name: str) -> None:
    """As the file it is, and with values, as it is sent."""
    assert [] == faults((FOLDER / f"{name}.ps1").read_text())
    assert [] == faults(composed(name))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("if (", "does not parse"),
        ("Read-Host 'name'", "interactive"),
        ("Get-Item x | ForEach-Object { Invoke-Expression $_ }", "dangerous"),
        ("sc.exe query x 2>&1", "stderr merged"),
        ("function f {\n    sc.exe query x 2>&1\n}", "stderr merged"),
        ("wmic cpu get name", "gone"),
        ("Get-Item x | % { $_ }", "alias"),
        ("$x = @'\na\n'@", "here-string"),
    ],
)
def test_each_rule_sees_its_fault(text: str, rule: str) -> None:
    """A rule that found nothing ever would prove nothing."""
    assert [rule] == [fault.rule for fault in faults(text)]


@pytest.mark.parametrize("name", [name for name in names() if name != script.ONCE])
def test_every_script_answers_with_json(name: str) -> None:
    """Each one ends by saying what came of it, in the one form that is read."""
    assert "ConvertTo-Json -Compress" in load(name).text


@settings(max_examples=examples(25), deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_value_is_one_literal_of_the_call(value: str) -> None:
    """Whatever it holds: the grammar finds it as one string after its parameter's name, and finds nothing else."""
    text = compose("driver-state", Driver=value)
    plain = compose("driver-state", Driver="x")
    calls = [node for node in nodes(parse(text)) if node.type == "command_name"]
    assert len(calls) == sum(node.type == "command_name" for node in nodes(parse(plain)))
    doubled = re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value)
    assert text.endswith(f"-Driver '{doubled}'\n")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"Driver": "a", "More": "b"},
        {"Driver": 3},
        {"Driver": None},
        {"Driver": "a\0b"},
    ],
)
def test_a_call_with_other_values_is_a_mistake(values: dict[str, Any]) -> None:
    """Missing, unknown, of another type, or with a character that no script may hold."""
    with pytest.raises(TypeError):
        compose("driver-state", **values)


def test_numbers_and_switches_are_no_strings() -> None:
    """True is no number, and a list of strings is one PowerShell array."""
    made = script.Script(name="x", parameters={"A": "int", "B": "bool", "C": "string[]"}, text="")
    assert "-A 3 -B $false -C @('it''s', 'b')" == made.call({"A": 3, "B": False, "C": ["it's", "b"]})[6:]
    with pytest.raises(TypeError):
        made.call({"A": True, "B": False, "C": []})


def test_what_is_done_once_is_wrapped() -> None:
    """The work is a script block of the one that runs it at most once."""
    text = compose_once("driver-state", directory="C:\\it's", command="ab12", Driver="x")
    assert "-Directory 'C:\\it''s' -Command 'ab12' -Work { & {" in text
    assert text.startswith("# hotplug-harness windows.driver-state\n")
    with pytest.raises(TypeError):
        compose_once("driver-state", directory="C:\\", command="../x", Driver="x")


@pytest.mark.parametrize("name", [n for n in names() if n not in (script.ONCE, "preflight")])
def test_scripts_fit_a_command_line(name: str) -> None:
    """Longer ones work too, but take five round trips more: each is copied into a file first."""
    values = {each: VALUES[kind] for each, kind in load(name).parameters.items()}
    once = compose_once(
        name, directory="C:\\ProgramData\\hotplug-harness\\answers", command="0" * 16, **values
    )
    assert len(Windows().invoke(once)) <= Windows().longest_line


@settings(max_examples=examples(50), deadline=None)
@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str)))
def test_an_answer_is_decoded_or_refused(text: str) -> None:
    """Nothing a guest says does anything else."""
    for kind in (answer.Ready, answer.ChangeStep, answer.MachineView, answer.ServiceState):
        try:
            said = type(answer.decode(text, kind, what="a script"))
        except GuestRefused as error:
            said = error.message.partition(": ")[0]
        assert said in (kind, "a script")


def test_a_failure_in_the_guest_is_told_in_its_own_words() -> None:
    """What a script that is done once threw comes as an object with one key."""
    with pytest.raises(GuestRefused, match=r"^a script: The term 'x' is not recognized"):
        answer.decode('{"failed":"The term \'x\' is not recognized"}', answer.Ready, what="a script")


def test_an_answer_with_a_long_text_is_read() -> None:
    """An older script, or another language's program, may say more than ours."""
    text = json.dumps({"step": "create", "code": 5, "said": "x" * 100_000})
    assert 100_000 == len(answer.decode(text, answer.ChangeStep, what="create").said)
