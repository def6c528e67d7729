# SPDX-License-Identifier: MIT
"""The WS-Management double answers as Windows did when it was recorded: same elements, namespaces, order, attributes."""

from __future__ import annotations

import io
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import requests
import urllib3
from requests_ntlm import HttpNtlmAuth
from transport.conftest import PASSWORD, USER
from transport.wsman_double import Double

from harness.deadline import Deadline

pytestmark = pytest.mark.remote

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "wsman"
GUID = re.compile(r"[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}")
PROGRAM = {
    "dir": "ls -l /",
    "set": "env",
    "cmd.exe": "env",
    "/c": "--",
    "powershell.exe": "eval",
    "Write-Host hi; Start-Sleep 30; Write-Host hi again": "'echo hi; read -r line; echo hi again'",
}
"""Words of the recorded command lines and what stands for them here. ``read`` is silent until the test ends it."""

HASTE = 20
"""The recorded OperationTimeout is so many times as long: 10 s become 0.5 s, the shortest that Windows takes."""

OF_THE_HOST = {"Owner", "ClientIP"}
"""Elements whose text names a machine."""


def conversations() -> Iterator[Any]:
    """Each recorded conversation: requests and the answers they got."""
    names = sorted(RECORDED.glob("*.yml")) if RECORDED.is_dir() else []
    if not names:
        yield pytest.param(
            None, marks=pytest.mark.skip(f"no recorded conversations: {RECORDED} is not there")
        )
        return
    yaml = pytest.importorskip(
        "yaml", reason="the recorded conversations are YAML, and PyYAML is not installed"
    )
    # libyaml, where PyYAML has it, takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in names:
        messages = yaml.load(path.read_text(encoding="utf-8"), loader)["messages"]
        ends = [n for n, each in enumerate(messages) if "transfer/Delete<" in each["request"]]
        starts = [0, *[end + 1 for end in ends[:-1]]]
        for start, end in zip(starts, ends, strict=True):
            yield pytest.param(messages[start : end + 1], id=f"{path.stem}-{start}")


def shape(document: str) -> list[Any]:
    """What stays of a message when ids, times, names of machines and the output itself are taken away.

    One line for each namespace declared, element opened with its attributes and text, and element closed.
    """
    lines: list[Any] = []
    events = ("start-ns", "start", "end")
    for event, item in ElementTree.iterparse(io.BytesIO(document.encode()), events=events):
        if event == "start-ns":
            lines.append(("namespace", *item))
        elif event == "start":
            lines.append(("open", item.tag, [(name, masked(text)) for name, text in item.attrib.items()]))
        else:
            name = item.tag.rpartition("}")[2]
            text = "(host)" if name in OF_THE_HOST else masked(item.text or "")
            if name == "Stream":
                text = "(output)" if text else ""
            lines.append(("close", item.tag, text))
    return without_repeated_output(lines)


def masked(text: str) -> str:
    """Put a word in the place of each id."""
    return GUID.sub("(id)", text)


def without_repeated_output(lines: list[Any]) -> list[Any]:
    """How many pieces the output came in is chance: one after another on the same stream count once."""
    kept: list[Any] = []
    for line in lines:
        kept.append(line)
        if kept[-2:] == kept[-4:-2] and line[0] == "close" and line[2] == "(output)":
            del kept[-2:]
    return kept


class Client:
    """Sends recorded requests, with the ids of this server in the place of the recorded ones."""

    def __init__(self, double: Double) -> None:
        self.url = f"https://127.0.0.1:{double.port}/wsman"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = False
        self.session.auth = HttpNtlmAuth(USER, PASSWORD)
        self.ids: dict[str, str] = {}

    def send(self, request: str, recorded: str, status: int) -> str:
        """Return the answer to ``request``, which must have the status; learn the ids that it gives out."""
        for theirs, ours in self.ids.items():
            request = request.replace(theirs, ours)
        request = re.sub(
            r"(?<=<rsp:Command>)[^<]+|(?<=<rsp:Arguments>)[^<]+",
            lambda word: PROGRAM.get(word[0], word[0]),
            request,
        )
        request = re.sub(
            r"(?<=OperationTimeout>PT)\d+", lambda seconds: f"{int(seconds[0]) / HASTE}", request
        )
        with urllib3.warnings.catch_warnings():
            urllib3.disable_warnings()
            response = self.session.post(self.url, data=request.encode(), timeout=10)
        assert status == response.status_code
        assert "application/soap+xml;charset=UTF-8" == response.headers["Content-Type"]
        for pattern in (r'Name="ShellId">([^<]+)<', r"<rsp:CommandId>([^<]+)<"):
            theirs, ours = re.search(pattern, recorded), re.search(pattern, response.text)
            if theirs and ours:
                self.ids[theirs[1]] = ours[1]
        return response.text


@pytest.mark.parametrize("conversation", list(conversations()))
def test_every_answer_has_the_shape_of_the_recorded_one(
    double: Double, within: Deadline, conversation: Any
) -> None:
    """The recorded requests themselves are sent, and each answer is compared."""
    client = Client(double)
    double.activity_ids = "<p:ActivityId>" in conversation[0]["response"]
    actions = []
    for message in conversation:
        await_recorded_state(double, message["response"], within)
        began = time.monotonic()
        status = message.get("transport_error", {"code": 200})["code"]
        answer = client.send(message["request"], message["response"], status)
        assert shape(message["response"]) == shape(answer)
        if "w:TimedOut" in answer:
            timeout = re.search(r"OperationTimeout>PT(\d+)S<", message["request"])
            assert timeout is not None
            assert int(timeout[1]) / HASTE <= time.monotonic() - began
        relates_to = re.search(r"<a:RelatesTo>([^<]+)<", answer)
        message_id = re.search(r"<wsa:MessageID>([^<]+)<", message["request"])
        assert message_id is not None
        assert relates_to is not None
        assert message_id[1] == relates_to[1]
        actions.append(message["request"].partition("</wsa:Action>")[0].rpartition("/")[2])
    assert ["Create", "Delete"] == [actions[0], actions[-1]]
    assert Counter(actions) == double.seen
    assert {} == double.shells


def await_recorded_state(double: Double, recorded: str, within: Deadline) -> None:
    """Wait until the command is where the recorded one was when Windows answered.

    Before that, Windows says Running as well. A command that had printed and was silent afterwards has output waiting. One
    that was done has ended here too; until then it waits for the end of its input.
    """
    commands = [each for shell in double.shells.values() for each in shell.commands.values()]
    if "CommandState/Running" in recorded:
        within.poll(lambda: all(each.waiting for each in commands))
    elif "CommandState/Done" in recorded:
        for each in commands:
            assert each.process.stdin is not None
            each.process.stdin.close()
        within.poll(lambda: not any(each.open for each in commands))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<rsp:ExitCode>0</rsp:ExitCode>", ""),
        ("<rsp:ExitCode>0</rsp:ExitCode>", "<rsp:ExitCode>1</rsp:ExitCode>"),
        (' End="true"', ""),
        ("http://schemas.microsoft.com/wbem/wsman/1/windows/shell", "http://schemas.microsoft.com/other"),
        ('Name="stderr"', 'Name="stdout"'),
        ("CommandState/Done", "CommandState/Running"),
    ],
)
def test_the_comparison_sees_a_difference(before: str, after: str) -> None:
    """A shape that compared equal to everything would prove nothing."""
    answer = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Body><rsp:ReceiveResponse>'
        '<rsp:Stream Name="stdout" CommandId="x">YQ==</rsp:Stream>'
        '<rsp:Stream Name="stderr" CommandId="x" End="true"></rsp:Stream>'
        '<rsp:CommandState State="CommandState/Done"><rsp:ExitCode>0</rsp:ExitCode></rsp:CommandState>'
        "</rsp:ReceiveResponse></s:Body></s:Envelope>"
    )
    assert before in answer
    assert shape(answer) != shape(answer.replace(before, after))
    piece = '<rsp:Stream Name="stdout" CommandId="x">YQ==</rsp:Stream>'
    assert shape(answer) == shape(answer.replace(piece, piece * 3))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("s:Sender", "s:Receiver"),
        ("faultDetail/InvalidValue", "faultDetail/UnexpectedSelectors"),
        ('Code="87"', 'Code="5"'),
        ('Machine="guest"', 'Machine="other"'),
        ("<p:ActivityId>x</p:ActivityId>", ""),
        ("The parameter is incorrect.", "Access is denied."),
    ],
)
def test_the_comparison_sees_a_difference_in_a_fault(before: str, after: str) -> None:
    """The parts of a fault that a client decides by are compared."""
    answer = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" '
        'xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"><s:Header><p:ActivityId>x</p:ActivityId>'
        "</s:Header><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Detail><w:FaultDetail>"
        "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/InvalidValue</w:FaultDetail>"
        '<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="87" Machine="guest">'
        "<f:Message>The parameter is incorrect.</f:Message></f:WSManFault></s:Detail></s:Fault></s:Body></s:Envelope>"
    )
    assert before in answer
    assert shape(answer) != shape(answer.replace(before, after))


@pytest.mark.parametrize(
    "header", ["", "Basic QWRtaW5pc3RyYXRvcjpjb3JyZWN0LWhvcnNlITc=", "Negotiate AAAA", "Bearer x"]
)
def test_only_ntlm_opens_the_door(double: Double, header: str) -> None:
    """Basic stays off, with the right password too, and the challenge names Negotiate alone."""
    with urllib3.warnings.catch_warnings():
        urllib3.disable_warnings()
        response = requests.post(
            f"https://127.0.0.1:{double.port}/wsman",
            data=b"",
            headers={"Authorization": header} if header else {},
            verify=False,
            timeout=10,
        )
    assert (401, "Negotiate") == (response.status_code, response.headers["WWW-Authenticate"])
