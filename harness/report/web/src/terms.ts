// SPDX-License-Identifier: MIT
/** The project's own words that a page uses, each with its meaning. */

import { el } from "./dom";
import type { RunDocument } from "./document";

/** What a page that uses a word has in its text, the word, and its meaning. */
const TERMS: readonly [RegExp, string, string][] = [
  [/registration \d/, "registration 1 of driver D", "The callback of D\u2019s first call of KeRegisterProcessorChangeCallback or IoRegisterPlugPlayNotification. Each driver\u2019s registrations are numbered from 1."],
  [/\b(cpu|dimm)-\d|, attempt \d/, "cpu-1, dimm-1; attempt 2", "The host\u2019s first command to add a processor, or a DIMM. \u201cprocessor 2, attempt 2\u201d is the second series of callbacks for processor 2, from Start to Complete or Failure."],
  [/\bunplug-\d/, "unplug-1", "The host\u2019s first request to the guest to give a device back."],
  [/\boperation \d/, "operation 3 of the plan", "The plan\u2019s third step, as \u201cWhat was done\u201d lists them. An operation \u201cexpect\u201d compares counts with what the plan expects."],
  [/\bmark /, "mark", "A word that the host sends to a driver, which logs it on every channel. It shows that records arrive."],
  [/\bveto/, "veto", "A Start that returns with an error in *OperationStatus: the driver refuses the processor."],
  [/\bagree/, "agreed", "QEMU\u2019s list of devices, the firmware\u2019s _OST and the guest\u2019s own count are as the plan expects."],
  [/\binterface/, "interface", "A device interface: the symbolic link with which Plug and Play announces a processor or memory."],
];

export function terms(data: RunDocument): HTMLElement | null {
  const text = JSON.stringify([data.sentence, data.reasons, data.findings, data.failure]);
  const used = TERMS.filter(([pattern]) => pattern.test(text)).map(([, word, meaning]): [string, string] => [word, meaning]);
  if (data.findings.some((one) => one.witnesses.length)) used.push(["E1, F1", "The records of the first finding, and of the second one. The timeline has the same tags."]);
  if (used.length === 0) return null;
  return el("details", { class: "terms" }, el("summary", {}, "Words used here"),
    el("dl", { class: "facts" }, ...used.flatMap(([word, meaning]) => [el("dt", {}, word), el("dd", {}, meaning)])));
}
