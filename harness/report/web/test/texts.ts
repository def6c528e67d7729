// SPDX-License-Identifier: MIT
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { test } from "node:test";
import { pretty } from "../src/detail";
import { bytes, counted, duration, milliseconds, tickFormat } from "../src/format";
import { Neighbours } from "../src/order";
import { PIECE, Pieces, type RecordText } from "../src/pieces";

test("ticks have the unit and the decimals that tell them apart", () => {
  assert.equal(tickFormat(50e6)(150e6), "150 ms");
  assert.equal(tickFormat(5e5)(1.5e6), "1.5 ms");
  assert.equal(tickFormat(2e9)(-4e9), "\u22124 s");
  assert.equal(tickFormat(200)(-1200), "\u22121.2 µs");
  assert.equal(tickFormat(1)(3), "3 ns");
  assert.equal(tickFormat(1e6)(-0.0001), "0 ms");
});

test("times, sizes and counts are readable", () => {
  assert.deepEqual([milliseconds(1234567), milliseconds(-500)], ["1.235", "\u22120.001"]);
  assert.deepEqual([duration(1.92e6), duration(25e9), duration(12)], ["1.92 ms", "25.0 s", "12 ns"]);
  assert.deepEqual([bytes(1023), bytes(2048), bytes(3 << 20)], ["1023 bytes", "2.0 KiB", "3.0 MiB"]);
  assert.deepEqual([counted(1, "rule"), counted(1200, "rule")], ["1 rule", "1,200 rules"]);
});

test("neighbours are found from both ends, with the reason", () => {
  const whole = (...values: number[]): Int32Array => Int32Array.from(values);
  const order = new Neighbours(["one call", "one driver", "odd"]);
  assert.deepEqual(order.of(3), { before: [], after: [] });
  order.fill({ before: whole(1, 2, 3), after: whole(3, 3, 4), why: whole(0, 1, 2) });
  assert.deepEqual(order.of(3), {
    before: [{ record: 1, why: "one call" }, { record: 2, why: "one driver" }],
    after: [{ record: 4, why: "odd" }],
  });
  assert.deepEqual(order.of(9), { before: [], after: [] });
});

test("a piece is unpacked once, and an old one is given up", async () => {
  const texts = (piece: number): RecordText[] => Array.from({ length: PIECE }, (_, row) => [`s ${piece * PIECE + row}`, "{}"]);
  const asked: number[] = [];
  const pieces = new Pieces((piece) => {
    asked.push(piece);
    return Promise.resolve(gzipSync(JSON.stringify(texts(piece))).toString("base64"));
  }, 2);
  const found = [];
  for (const row of [0, 999, 1000, 2500, 5]) found.push((await pieces.text(row))[0]);
  assert.deepEqual(found, ["s 0", "s 999", "s 1000", "s 2500", "s 5"]);
  assert.deepEqual(asked, [0, 1, 2, 0]);
});

test("a raw line has a field on each line, and one that is none stays as it is", () => {
  assert.equal(pretty('{"k":"end","n":3}'), '{\n  "k": "end",\n  "n": 3\n}');
  assert.equal(pretty('{"k":"end'), '{"k":"end');
});
