// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { columns, summed } from "../src/columns";

const packed = (...parts: (Float64Array | Int32Array)[]): string =>
  gzipSync(Buffer.concat(parts.map((part) => Buffer.from(part.buffer)))).toString("base64");
const whole = (...values: number[]): Int32Array => Int32Array.from(values);

test("steps are summed", () => {
  assert.deepEqual(summed(whole(5, 2, -3)), whole(5, 7, 4));
  assert.deepEqual(summed(whole()), whole());
});

test("what was packed is drawn, and the order is read when it is asked for", async () => {
  const asked: string[] = [];
  const tables: Record<string, string> = {
    records: packed(Float64Array.of(-10, 40), whole(2, 3), whole(0, 1), whole(0, 2), whole(0, 0), whole(-1, 3), whole(-1, 2), whole(1, 0)),
    spans: packed(Float64Array.of(-10), Float64Array.of(2 ** 40), whole(1), whole(2), whole(5), whole(1), whole(0)),
    labels: gzipSync(JSON.stringify([["a", "b"], ["call"]])).toString("base64"),
    order: packed(whole(2, 2), whole(5, 9), whole(0, 1)),
  };
  const { records, spans, order } = await columns((name) => {
    asked.push(name);
    return tables[name] ?? "";
  });
  assert.deepEqual(asked, ["records", "spans", "labels"]);
  assert.deepEqual([records.size, records.row(5), records.row(4), records.time[1], records.kind[1]], [2, 1, -1, 30, 2]);
  assert.deepEqual(spans, [{ lane: 1, begin: -10, end: 2 ** 40 - 10, first: 2, last: 5, label: "b", look: "call", row: 0 }]);
  assert.deepEqual(await order(), { before: whole(2, 2), after: whole(5, 9), why: whole(0, 1) });
});

test("a page of no records is no error", async () => {
  const none = packed();
  const { records, spans } = await columns((name) => (name === "labels" ? gzipSync("[[],[]]").toString("base64") : none));
  assert.deepEqual([records.size, records.row(1), spans.length], [0, -1, 0]);
});
