// SPDX-License-Identifier: MIT
/** The tables of numbers in a page, as harness/report/page/packed_columns.py packs them. */

import { at, Records, type Order, type Span } from "./document";

/** Return the bytes that `packed`, base64 of gzip, holds. */
export async function unpack(packed: string): Promise<ArrayBuffer> {
  const text = atob(packed);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** What a page draws. `order` is unpacked when an arrow or a neighbour is first asked for. */
export interface Columns {
  records: Records;
  spans: Span[];
  order: () => Promise<Order>;
}

/** Return what a page draws; `packed` returns a table by its name. */
export async function columns(packed: (name: string) => string): Promise<Columns> {
  const [records, spans, labels] = await Promise.all(["records", "spans", "labels"].map((name) => unpack(packed(name))));
  if (!records || !spans || !labels) throw new Error("the page has no records");
  let order: Promise<Order> | null = null;
  return {
    records: recordsOf(records),
    spans: spansOf(spans, JSON.parse(new TextDecoder().decode(labels)) as [string[], string[]]),
    order: () => (order ??= unpack(packed("order")).then(orderOf)),
  };
}

/** Split a table into its columns: `real` of 64 bits, then `whole` of 32 bits. */
function split(data: ArrayBuffer, real: number, whole: number): [Float64Array[], Int32Array[]] {
  const rows = data.byteLength / (8 * real + 4 * whole);
  const begin = 8 * real * rows;
  return [
    Array.from({ length: real }, (_, place) => new Float64Array(data, 8 * rows * place, rows)),
    Array.from({ length: whole }, (_, place) => new Int32Array(data, begin + 4 * rows * place, rows)),
  ];
}

function recordsOf(data: ArrayBuffer): Records {
  const [real, whole] = split(data, 1, 7);
  const [number, lane, kind, source, processor, subject, told] = whole as Seven;
  return new Records({ time: summed(at(real, 0)), number: summed(number), lane, kind, source, processor, subject, told });
}

type Seven = [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];

function spansOf(data: ArrayBuffer, [labels, looks]: [string[], string[]]): Span[] {
  const [real, whole] = split(data, 2, 5);
  const [begin, length] = real as [Float64Array, Float64Array];
  const [lane, first, last, label, look] = whole as unknown as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];
  return Array.from(begin, (from, row) => ({
    lane: at(lane, row),
    begin: from,
    end: from + at(length, row),
    first: at(first, row),
    last: at(last, row),
    label: at(labels, at(label, row)),
    look: at(looks, at(look, row)),
    row: 0,
  }));
}

function orderOf(data: ArrayBuffer): Order {
  const [before, after, why] = split(data, 0, 3)[1] as [Int32Array, Int32Array, Int32Array];
  return { before, after, why };
}

/** Turn steps into their running sums, where they stand. */
export function summed<T extends Int32Array | Float64Array>(steps: T): T {
  let sum = 0;
  for (let place = 0; place < steps.length; place++) steps[place] = sum += at(steps, place);
  return steps;
}
