// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Span } from "../src/document";
import { layout, MOST_ROWS, nearest, spansBetween, stacked } from "../src/layout";
import { made } from "./made/records";

const span = (lane: number, begin: number, end: number): Span => ({ lane, begin, end, first: 0, last: 0, label: "", look: "call", row: 0 });

test("what overlaps stands below what it overlaps", () => {
  const rows = stacked([span(0, 0, 100), span(0, 10, 20), span(0, 20, 30), span(0, 15, 25), span(1, 5, 6), span(0, 100, 110)]);
  assert.deepEqual(rows.filter((one) => one.lane === 0).map((one) => [one.begin, one.row]), [[0, 0], [10, 1], [15, 2], [20, 1], [100, 0]]);
});

test("a lane never has more rows than fit", () => {
  const rows = stacked(Array.from({ length: 50 }, (_, place) => span(0, place, 1000)));
  assert.equal(Math.max(...rows.map((one) => one.row)), MOST_ROWS - 1);
});

const records = made({ time: [30, 10, 50], lane: [0, 0, 1] });

test("records of a lane are in the order of time, and lanes below each other", () => {
  const [first, second] = layout(2, records, stacked([span(1, 0, 5)]), [0, 1, 2]);
  assert.deepEqual([...(first?.times ?? [])], [10, 30]);
  assert.deepEqual([...(first?.order ?? [])], [1, 0]);
  assert.equal(second?.top, first?.height);
  assert.ok((second?.height ?? 0) > (first?.height ?? 0));
});

test("spans are found that began long before the stretch", () => {
  const [lane] = layout(1, records, stacked([span(0, 0, 1000), span(0, 10, 12), span(0, 500, 501), span(0, 2000, 2001)]), []);
  assert.ok(lane);
  const [first, last] = spansBetween(lane, 400, 600);
  assert.deepEqual(lane.spans.slice(first, last).map((one) => one.begin), [0, 10, 500]);
});

test("the next record is found, but none out of reach", () => {
  const [lane] = layout(1, records, [], [0, 1]);
  assert.ok(lane);
  assert.deepEqual([nearest(lane, 12, 5), nearest(lane, 29, 5), nearest(lane, 20, 5), nearest(lane, 999, 5)], [1, 0, -1, -1]);
});
