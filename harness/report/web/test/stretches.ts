// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Finding, RunDocument } from "../src/document";
import { firstView } from "../src/stretches";
import { namedRecords } from "../src/timeline";
import { made } from "./made/records";

const finding = (rule: string, records: number[]): Finding => ({
  rule, level: "error", verdict: "violated", minor: false, says: "", pages: [], reason: "", attempt: "", step: 0,
  fault: "", clock: "", consequences: [], chain: [], again: [], times: 0, counted: null, follows: false,
  witnesses: records.map((record, place) => ({ name: `E${place + 1}`, record, who: "", text: "", telling: [], values: "" })),
});

test("the first view has the operations and the first finding in it", () => {
  const records = made({ number: [1, 2, 3], time: [-5e9, 0, 2e6] });
  const [all, added] = [{ from: -6e9, to: 1e9 }, { from: -1e6, to: 3e6 }];
  const early = firstView(finding("R", [1]), added, records, all);
  assert.ok(early.from < -5e9 && early.to === added.to);
  assert.deepEqual(firstView(finding("R", [2]), added, records, all), added);
  assert.deepEqual(firstView(undefined, added, records, all), added);
});

test("a rule that is broken often has the tags of its first finding, all of them when it is chosen", () => {
  const findings = [finding("R", [1, 2]), finding("R", [1, 3]), finding("Q", [4])];
  const data = { findings, failure: null } as unknown as RunDocument;
  assert.deepEqual([...namedRecords(data, "").keys()], [1, 2, 4]);
  assert.deepEqual([...namedRecords(data, "R").keys()], [1, 2, 3]);
});
