// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { test } from "node:test";
import { lowerBound, renamed, type Finding } from "../src/document";
import { made } from "./made/records";

const finding = (names: string[], chain: string[]): Finding => ({
  rule: "R", level: "error", verdict: "violated", minor: false, says: "", pages: [], reason: "", attempt: "", step: 0,
  fault: "", clock: "", consequences: [], chain, again: [], times: 0, counted: null, follows: false,
  witnesses: names.map((name, place) => ({ name, record: place + 1, who: "", text: "", telling: [], values: "" })),
});

test("the first place that is not below is found", () => {
  const values = [1, 3, 3, 8];
  assert.deepEqual([0, 1, 3, 4, 9].map((wanted) => lowerBound(values, wanted)), [0, 0, 1, 3, 4]);
});

test("a record is found by its number, though others were left out", () => {
  const records = made({ number: [2, 7], time: [-10, 20] });
  assert.deepEqual([2, 7, 3, 1, 8].map((number) => records.row(number)), [0, 1, -1, -1, -1]);
});

test("the records of the second finding have names of their own, also in its sentences", () => {
  const [first, second] = renamed([finding(["E1"], ["E1 < E2"]), finding(["E1", "E2"], ["E1 < E2, because E1 is"])]);
  assert.deepEqual(first?.witnesses.map((one) => one.name), ["E1"]);
  assert.deepEqual(second?.witnesses.map((one) => one.name), ["F1", "F2"]);
  assert.deepEqual(second.chain, ["F1 < F2, because F1 is"]);
});
