# SPDX-License-Identifier: MIT
"""What a template promises is asked of the guest in full, and every promise can be broken."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import msgspec
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.template import promise
from harness.template.promise import PROMISES, PromiseEvidence
from harness.template.store import BuiltTemplate
from harness.template.template import find_templates
from tests.template import powershell_rules as rules
from tests.template.test_store import manifest

TEMPLATE = find_templates()["windows-server-2025"]
CERTIFICATE = "ab" * 32
MANIFEST = manifest(
    facts={"build": "26100.1", "edition": "ServerStandardEval", "installation": "Server Core"},
    inputs={"provision/test.cer": CERTIFICATE},
    host_key="ssh-ed25519 AAAA",
    shutdown="2026-11-01T00:00:00Z",
)
RESTARTS = struct.pack("<9I", 86400, 0, 0, 2, 20, 1, 5000, 1, 5000).hex().upper()
"""FailureActions of a service that is started again 5 s after it failed, twice ([MS-SCMR] 2.2.37)."""

KEPT = PromiseEvidence(
    build="26100.1", edition="ServerStandardEval", installation="Server Core",
    processors=str(TEMPLATE.topology.processors), license="1", grace="1000", vbs="0",
    options=" TESTSIGNING  NOEXECUTE=OPTOUT", mask="15", dump="2", nmi="1", restart="0", trace="1",
    buffers=str(16 * TEMPLATE.topology.max_processors), update="1", logon="0", stored="none", basic="false",
    plain="false", listeners="HTTPS", trusted=f"{'cd' * 32} {CERTIFICATE}",
    category="Private", unidentified="1", winrm="Auto True Running", winrmfailure=RESTARTS, sshd="Auto True Running",
    sshdfailure=RESTARTS,
    zone="UTC", universal="1",
)  # fmt: skip


def broken(seen: PromiseEvidence) -> list[str]:
    """Return the names of the promises that are not kept."""
    return [finding.name for finding in promise.judge(seen, MANIFEST, TEMPLATE) if not finding.kept]


def test_a_guest_as_it_should_be_keeps_every_promise() -> None:
    """None is broken, and none is left out."""
    assert [] == broken(KEPT)
    assert len(PROMISES) == len(promise.judge(KEPT, MANIFEST, TEMPLATE))


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("build", "26100.2", "build"),
        ("edition", "ServerStandard", "build"),
        ("installation", "Server", "build"),
        ("processors", "1", "processors"),
        ("grace", "0", "license"),
        ("vbs", "2", "no VBS"),
        ("vbs", "", "no VBS"),
        ("options", " NOEXECUTE=OPTOUT NOTESTSIGNING", "testsigning"),
        ("mask", "1", "debug print"),
        ("mask", "", "debug print"),
        ("dump", "7", "dump"),
        ("nmi", "", "dump"),
        ("restart", "1", "dump"),
        ("trace", "0", "trace"),
        ("buffers", "3", "trace"),
        ("update", "", "quiet"),
        ("logon", "1", "logon"),
        ("stored", "kept", "logon"),
        ("basic", "true", "WinRM"),
        ("plain", "true", "WinRM"),
        ("listeners", "HTTP HTTPS", "WinRM"),
        ("trusted", "cd" * 32, "certificate"),
        ("category", "Private Public", "network"),
        ("category", "", "network"),
        ("unidentified", "", "network"),
        ("winrm", "Auto False Running", "WinRM start"),
        ("winrmfailure", "", "WinRM start"),
        ("winrmfailure", RESTARTS[:-16], "WinRM start"),
        ("winrmfailure", RESTARTS.replace("01000000", "02000000"), "WinRM start"),
        ("sshd", "", "SSH start"),
        ("sshd", "Auto True Stopped", "SSH start"),
        ("sshdfailure", "x", "SSH start"),
        ("zone", "W. Europe Standard Time", "UTC"),
        ("universal", "", "UTC"),
    ],
)
def test_each_promise_can_be_broken(field: str, value: str, name: str) -> None:
    """One value that is wrong breaks the one promise that it belongs to."""
    assert [name] == broken(msgspec.structs.replace(KEPT, **{field: value}))


def test_every_value_is_judged() -> None:
    """No value is asked of the guest for nothing, but the license's status, which is shown."""
    judged = {
        field
        for field in PromiseEvidence.__struct_fields__
        if broken(msgspec.structs.replace(KEPT, **{field: "something else"}))
    }
    assert {"license"} == set(PromiseEvidence.__struct_fields__) - judged


def test_the_script_says_what_is_judged() -> None:
    """The keys of the script's answer are the fields that the host reads."""
    assert list(PromiseEvidence.__struct_fields__) == re.findall(
        r"^    ([a-z]+) = ", promise.script(), re.MULTILINE
    )


def test_the_script_keeps_to_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the provisioning scripts; it uses four more cmdlets, and none of them changes anything."""
    monkeypatch.setitem(rules.COMMANDS, "ConvertTo-Json", "utility Compress InputObject")
    monkeypatch.setitem(rules.COMMANDS, "Get-CimInstance", "cimcmdlets ClassName Filter Namespace")
    monkeypatch.setitem(rules.COMMANDS, "Get-Item", "management Path")
    monkeypatch.setitem(rules.COMMANDS, "Get-TimeZone", "management")
    monkeypatch.setitem(rules.OWN, "Get-Value", "verify Key Name")
    monkeypatch.setitem(rules.OWN, "Get-ServiceStart", "verify Name")
    monkeypatch.setitem(rules.OWN, "Get-ServiceFailure", "verify Name")
    source = promise.script().encode()
    assert [] == rules.broken(source, "promises.ps1")
    verbs = {command.partition("-")[0] for command in rules.commands(source)}
    assert {"Get", "Where", "ForEach", "Select", "Sort", "ConvertTo", "Test", "Set"} == verbs
    assert 1 == promise.script().count("Set-")


def test_a_template_without_certificate_promises_none() -> None:
    """What was not made from it is not asked for; nor does an edition that does not end promise not to have ended,
    nor a template of before to be in UTC."""
    plain = msgspec.structs.replace(MANIFEST, inputs={}, evaluation_days=0, host_key="", shutdown="")
    names = {finding.name for finding in promise.judge(KEPT, plain, TEMPLATE)}
    assert {"certificate", "license", "SSH start", "UTC"} == {each.name for each in PROMISES} - names


@settings(max_examples=examples(30))
@given(
    st.text(max_size=200)
    | st.dictionaries(st.text(max_size=9), st.text(max_size=9)).map(
        lambda it: msgspec.json.encode(it).decode()
    )
)
def test_an_answer_that_is_none_is_refused(text: str) -> None:
    """A guest may say anything; what it says is refused in the harness's own words."""
    with pytest.raises(GuestRefused):
        promise.decode(text)


def test_an_answer_without_end_is_refused() -> None:
    """Its length is bounded."""
    with pytest.raises(GuestRefused, match="at most"):
        promise.decode("x" * 70_000)


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    """The disk is what was built, or the promise is broken; a manifest without files promises nothing."""
    folder = tmp_path
    (folder / "disk.qcow2").write_bytes(b"a")
    digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    for files, kept in (({"disk.qcow2": digest}, True), ({"disk.qcow2": "0" * 64}, False), ({}, False)):
        built = BuiltTemplate(folder=folder, manifest=manifest(files=files))
        assert kept == promise.untouched(built, Deadline(60, "read")).kept
