// SPDX-License-Identifier: MIT
/** Where things of the picture stand: lanes below each other, spans in the rows of a lane, records sorted by time. */

import { at, lowerBound, type Records, type Span } from "./document";

export const ROW = 17;
export const POINTS = 13;
export const PAD = 4;

/** Rows of spans that one lane has at most; what would go deeper is drawn in the last one. */
export const MOST_ROWS = 4;

export interface LaneLayout {
  top: number;
  height: number;
  rows: number;
  /** The lane's spans by their begin, and the longest of them, so that those before a stretch can be found. */
  spans: Span[];
  longest: number;
  /** Rows of records by their time. */
  order: Int32Array;
  times: Float64Array;
}

/** Sort spans by their begin and give each a row, such that none covers another: the first one that is free. */
export function stacked(spans: Span[]): Span[] {
  spans.sort((a, b) => a.begin - b.begin || b.end - a.end);
  const free = new Map<number, number[]>();
  for (const span of spans) {
    const ends = free.get(span.lane) ?? [];
    free.set(span.lane, ends);
    let row = ends.findIndex((end) => end <= span.begin);
    if (row < 0) row = Math.min(ends.length, MOST_ROWS - 1);
    ends[row] = Math.max(ends[row] ?? -Infinity, span.end);
    span.row = row;
  }
  return spans;
}

/** Return the layout of `count` lanes. */
export function layout(count: number, records: Records, spans: readonly Span[], shown: readonly number[]): LaneLayout[] {
  const byLane = Array.from({ length: count }, (): number[] => []);
  for (const row of shown) byLane[at(records.lane, row)]?.push(row);
  const spansOf = Array.from({ length: count }, (): Span[] => []);
  for (const span of spans) spansOf[span.lane]?.push(span);
  let top = 0;
  return byLane.map((rows, lane) => {
    const own = at(spansOf, lane);
    const used = own.reduce((most, span) => Math.max(most, span.row + 1), 0);
    if (!ascending(rows, records.time)) rows.sort((a, b) => at(records.time, a) - at(records.time, b) || a - b);
    const height = PAD * 2 + used * ROW + POINTS;
    const made = {
      top,
      height,
      rows: used,
      spans: own,
      longest: own.reduce((most, span) => Math.max(most, span.end - span.begin), 0),
      order: Int32Array.from(rows),
      times: Float64Array.from(rows, (row) => at(records.time, row)),
    };
    top += height;
    return made;
  });
}

/** Return whether rows are in the order of time, as those of one source nearly always are. */
function ascending(rows: readonly number[], time: Float64Array): boolean {
  for (let place = 1; place < rows.length; place++) {
    if (at(time, at(rows, place)) < at(time, at(rows, place - 1))) return false;
  }
  return true;
}

/** Return the first and the last place (exclusive) of the spans that may be seen between two times. */
export function spansBetween(lane: LaneLayout, from: number, to: number): [number, number] {
  return [firstSpan(lane.spans, from - lane.longest), firstSpan(lane.spans, to)];
}

function firstSpan(spans: readonly Span[], wanted: number): number {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(spans, middle).begin < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Return the row of the record of a lane that is next to a time, -1 if it has none within `reach`. */
export function nearest(lane: LaneLayout, time: number, reach: number): number {
  const place = lowerBound(lane.times, time);
  let best = -1;
  let distance = reach;
  for (const candidate of [place - 1, place]) {
    if (candidate < 0 || candidate >= lane.times.length) continue;
    const away = Math.abs(at(lane.times, candidate) - time);
    if (away <= distance) {
      best = at(lane.order, candidate);
      distance = away;
    }
  }
  return best;
}
