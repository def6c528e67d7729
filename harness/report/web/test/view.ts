// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { test } from "node:test";
import { fragment, fromFragment, passing, placeOf, Store, within, type View } from "../src/view";
import { made } from "./made/records";

const usual: View = {
  from: 0, to: 1000, record: 0, lane: -1, source: -1, processor: -1, rule: "", text: "", everything: false, arrows: false,
};
const records = made({
  time: [0, 1, 2, 3], lane: [0, 1, 1, 0], source: [0, 0, 1, 1], processor: [-1, 0, 2, -1], subject: [-1, 2, -1, -1], told: [1, 1, 1, 0],
});

test("a view comes back from its fragment", () => {
  const view: View = {
    from: -500, to: 70000, record: 12, lane: 2, source: 1, processor: 0, rule: "SYNC-FIRST", text: "a & b=c #%\u202e", everything: true, arrows: true,
  };
  assert.deepEqual(fromFragment(`#${fragment(view, usual)}`, usual), view);
  assert.equal(fragment(usual, usual), "");
});

test("a fragment that is wrong changes nothing", () => {
  for (const text of ["#t=9~1", "#t=x~y", "#r=-1", "#r=1e9", "#cpu=999999999999999999", "#%E0%A4%A=%", "#lane", "#=", "#all=yes"]) {
    assert.deepEqual(fromFragment(text, usual), usual, text);
  }
});

test("a stretch stays inside the run and is never empty", () => {
  const whole = { from: 0, to: 100 };
  assert.deepEqual(within(-20, 30, whole, 1), [0, 50]);
  assert.deepEqual(within(90, 130, whole, 1), [60, 100]);
  assert.deepEqual(within(50, 50, whole, 10), [50, 60]);
  assert.deepEqual(within(-500, 500, whole, 1), [0, 100]);
});

test("each filter leaves the records that it names", () => {
  const rows = (change: Partial<View>, rule: ReadonlySet<number> | null = null): number[] => passing({ ...usual, ...change }, records, rule);
  assert.deepEqual(rows({}), [0, 1, 2]);
  assert.deepEqual(rows({ everything: true }), [0, 1, 2, 3]);
  assert.deepEqual(rows({ lane: 1 }), [1, 2]);
  assert.deepEqual(rows({ source: 1 }), [2]);
  // Both the processor on which it ran and the one that it is about.
  assert.deepEqual(rows({ processor: 2 }), [1, 2]);
  assert.deepEqual(rows({}, new Set([2])), [1]);
});

test("the selected record is shown although it explains little", () => {
  assert.deepEqual(passing({ ...usual, record: 4 }, records, null), [0, 1, 2, 3]);
});

test("a place is found among those that are shown", () => {
  assert.deepEqual([0, 4, 5, 99].map((row) => placeOf([2, 5, 9], row)), [0, 1, 1, 2]);
  assert.equal(placeOf([], 3), 0);
});

test("changes of one frame are told once, and what did not change is not", () => {
  const told: string[][] = [];
  const works: (() => void)[] = [];
  const store = new Store(usual, (work) => works.push(work));
  store.listen((_, changed) => told.push([...changed].sort()));
  store.set({ from: 5 });
  store.set({ from: 6, to: 1000 });
  store.set({ record: 3 });
  store.set({ record: 3 });
  for (const work of works) work();
  assert.deepEqual(told, [["from", "record"]]);
  assert.deepEqual([store.view.from, store.view.record], [6, 3]);
});
