# SPDX-License-Identifier: MIT
"""The likely reason why a build stopped, as observed from outside: a table of stage and symptom, each with what to do next."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from harness.template.stage import SHOWN, BuildStage


class Symptom(StrEnum):
    """The observed symptom."""

    STILL = "nothing happened"
    LATE = "took too long"
    BEGAN_AGAIN = "began again"
    RESETS = "restarted again and again"
    TURNED_OFF = "turned itself off"
    PANICKED = "crashed"


class Diagnosis(msgspec.Struct, frozen=True):
    """The likely cause as text, and what to do next."""

    likely: str
    advice: str


_ANSWER = "Look at the screenshot: a question that Setup asks has no answer in the answer file."
_PANTHER = "Setup's own log is in the guest: C:\\Windows\\Panther\\setupact.log and setuperr.log."

TABLE: dict[tuple[BuildStage, Symptom], Diagnosis] = {
    (BuildStage.FIRMWARE, Symptom.STILL): Diagnosis(
        "the firmware does not start from the medium",
        "Check that the ISO is bootable with UEFI and that its SHA-256 is the publisher's.",
    ),
    (BuildStage.FIRMWARE, Symptom.LATE): Diagnosis(
        "the firmware found nothing to start: the medium is not bootable with UEFI, or the key came too late",
        "Look at the screenshot; if it asks for a key, try again on a host that is less busy.",
    ),
    (BuildStage.WINPE, Symptom.STILL): Diagnosis("Setup shows a question or an error and waits", _ANSWER),
    (BuildStage.WINPE, Symptom.LATE): Diagnosis("Setup's own system is slow to start, or waits", _ANSWER),
    (BuildStage.COPYING, Symptom.STILL): Diagnosis(
        "Setup cannot go on copying: the disk is not found or too small, or the medium is damaged",
        "Look at the screenshot, and check the ISO's SHA-256 against its publisher's.",
    ),
    (BuildStage.COPYING, Symptom.LATE): Diagnosis(
        "the host's disk or its processor is slow",
        "Look at the host's load; without KVM a build takes many hours.",
    ),
    (BuildStage.SPECIALIZE, Symptom.STILL): Diagnosis(
        "a setting of the answer file's specialize pass is refused", f"Look at the screenshot. {_PANTHER}"
    ),
    (BuildStage.SPECIALIZE, Symptom.LATE): Diagnosis("Windows installs devices and does not end", _PANTHER),
    (BuildStage.FIRST_LOGON, Symptom.STILL): Diagnosis(
        "nobody was logged on: Windows shows a question of its first start, or refuses the password", _ANSWER
    ),
    (BuildStage.FIRST_LOGON, Symptom.LATE): Diagnosis(
        "the first logon does not end, or its commands did not start", f"Look at the screenshot. {_PANTHER}"
    ),
    (BuildStage.INSTALLED, Symptom.STILL): Diagnosis(
        "Windows does not restart after its installation, or the task that starts provisioning does not run",
        "Look at the screenshot. The task is HotplugHarness in Windows' Task Scheduler; "
        "vm_templates/windows-common/install/launch.ps1 makes it.",
    ),
    (BuildStage.INSTALLED, Symptom.LATE): Diagnosis(
        "Windows is slow to start again, or the task that starts provisioning does not run",
        "Look at the screenshot.",
    ),
    (BuildStage.PROVISIONING, Symptom.STILL): Diagnosis(
        "a command of this step waits for an answer or for something that never comes",
        "Look at the screenshot and at the script of the step.",
    ),
    (BuildStage.PROVISIONING, Symptom.LATE): Diagnosis(
        "a command of this step does not end", "Look at the screenshot and at the script of the step."
    ),
    (BuildStage.DONE, Symptom.STILL): Diagnosis(
        "a program keeps Windows from shutting down", "Look at the screenshot for its name."
    ),
    (BuildStage.DONE, Symptom.LATE): Diagnosis(
        "Windows installs updates before it shuts down, or a program keeps it from it",
        "Look at the screenshot.",
    ),
}

GENERAL = {
    Symptom.STILL: Diagnosis("the guest hangs", "Look at the screenshot."),
    Symptom.LATE: Diagnosis("the host is slow, or the guest loops", "Look at the screenshot."),
    Symptom.BEGAN_AGAIN: Diagnosis(
        "the firmware started the medium again instead of the disk",
        "The firmware's variables or its boot order were lost; build with --from nothing.",
    ),
    Symptom.RESETS: Diagnosis(
        "Windows crashes or cannot start from its disk", f"Look at the screenshot. {_PANTHER}"
    ),
    Symptom.TURNED_OFF: Diagnosis(
        "Setup ended with an error, or a script shut Windows down before the last step",
        f"Look at the markers at the end of console.log. {_PANTHER}",
    ),
    Symptom.PANICKED: Diagnosis(
        "the guest's kernel stopped", "Look at the screenshot: it names the stop code."
    ),
}


def diagnose(stage: BuildStage, symptom: Symptom) -> Diagnosis:
    """Return the diagnosis. There is one for every pair."""
    return TABLE.get((stage, symptom), GENERAL[symptom])


def sentence(stage: BuildStage, symptom: Symptom, doing: str = "") -> str:
    """Describe the symptom: *nothing happened in stage copying*."""
    where = f"stage {SHOWN[stage]}" + (f", {doing}" if doing else "")
    if symptom is Symptom.STILL:
        return f"{symptom} in {where}"
    return f"{where} {symptom}" if symptom is Symptom.LATE else f"the guest {symptom} in {where}"
