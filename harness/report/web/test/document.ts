// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { test } from "node:test";
import { lowerBound, Records, renamed, summed, type Finding } from "../src/document";

const finding = (names: string[], chain: string[]): Finding => ({
  rule: "R", level: "error", verdict: "violated", minor: false, says: "", pages: [], reason: "", attempt: "", step: 0,
  fault: "", clock: "", consequences: [], chain,
  witnesses: names.map((name, place) => ({ name, record: place + 1, who: "", text: "", values: "" })),
});

test("steps are summed", () => {
  assert.deepEqual(summed([5, 2, -3]), [5, 7, 4]);
  assert.deepEqual(summed([]), []);
});

test("the first place that is not below is found", () => {
  const values = [1, 3, 3, 8];
  assert.deepEqual([0, 1, 3, 4, 9].map((wanted) => lowerBound(values, wanted)), [0, 0, 1, 3, 4]);
});

test("a record is found by its number, though others were left out", () => {
  const records = new Records({ n: [2, 5], t: [-10, 30], lane: [0, 1], kind: [0, 0], source: [0, 0], cpu: [-1, 3], nt: [-1, 2], told: [1, 0] });
  assert.deepEqual([records.row(2), records.row(7), records.row(3)], [0, 1, -1]);
  assert.deepEqual([...records.time], [-10, 20]);
});

test("the records of the second finding have names of their own, also in its sentences", () => {
  const [first, second] = renamed([finding(["E1"], ["E1 < E2"]), finding(["E1", "E2"], ["E1 < E2, because E1 is"])]);
  assert.deepEqual(first?.witnesses.map((one) => one.name), ["E1"]);
  assert.deepEqual(second?.witnesses.map((one) => one.name), ["F1", "F2"]);
  assert.deepEqual(second.chain, ["F1 < F2, because F1 is"]);
});
