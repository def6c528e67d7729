// SPDX-License-Identifier: MIT
/** Stretches of time: of the whole run, of its operations, of what a finding shows, and the one that is seen first. */

import { at, type Finding, type Records, type Span } from "./document";

export interface Stretch {
  from: number;
  to: number;
}

/** Return the stretch of all records and spans, with a margin. */
export function whole(records: Records, spans: readonly Span[]): Stretch {
  let [from, to] = [Infinity, -Infinity];
  for (const time of records.time) {
    from = Math.min(from, time);
    to = Math.max(to, time);
  }
  for (const span of spans) to = Math.max(to, span.end);
  if (from > to) [from, to] = [0, 1e6];
  const margin = Math.max(1e4, (to - from) * 0.01);
  return { from: from - margin, to: to + margin };
}

/** Return the stretch from the first add to the end of the last operation; all, if nothing was added. */
export function acted(spans: readonly Span[], all: Stretch): Stretch {
  const adds = spans.filter((span) => span.look === "add" || (span.look === "operation" && span.begin >= 0));
  if (adds.length === 0) return all;
  const [first, last] = [Math.min(...adds.slice(0, 5000).map((one) => one.begin)), Math.max(...adds.slice(-5000).map((one) => one.end))];
  const margin = Math.max(2e5, (last - first) * 0.06);
  return { from: Math.max(all.from, first - margin), to: Math.min(all.to, last + margin) };
}

/** Return the stretch in which records are, with as much around it. */
export function around(numbers: readonly number[], records: Records, all: Stretch): Stretch | null {
  const times = numbers.map((number) => records.row(number)).filter((row) => row >= 0).map((row) => at(records.time, row));
  if (times.length === 0) return null;
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const margin = Math.max(1e6, (last - first) * 0.4);
  return { from: Math.max(all.from, first - margin), to: Math.min(all.to, last + margin) };
}

/** Return what is seen first: the operations, and the records of the first finding, which may be long before them. */
export function firstView(finding: Finding | undefined, added: Stretch, records: Records, all: Stretch): Stretch {
  const cause = around(finding?.witnesses.map((one) => one.record) ?? [], records, all);
  return cause ? { from: Math.min(added.from, cause.from), to: Math.max(added.to, cause.to) } : added;
}
