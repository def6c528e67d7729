// SPDX-License-Identifier: MIT
/** The document of a report, as harness/report/page/document.py writes it, and its records as columns. */

export interface Witness {
  name: string;
  record: number;
  who: string;
  text: string;
  /** The values that the rule compares, each as `Name = value`. */
  telling: string[];
  values: string;
}

export interface CountedList {
  title: string;
  more: number;
  witnesses: Witness[];
}

export interface Finding {
  rule: string;
  level: string;
  verdict: string;
  minor: boolean;
  says: string;
  pages: string[];
  reason: string;
  attempt: string;
  step: number;
  fault: string;
  witnesses: Witness[];
  chain: string[];
  clock: string;
  consequences: string[];
  /** How the same cause breaks the same rule again, each way once, and how many times. */
  again: string[];
  times: number;
  /** The records that the rule counts; null where the witnesses show them. */
  counted: CountedList | null;
  /** Whether it may be broken only because of another one. */
  follows: boolean;
}

export interface Rule {
  rule: string;
  level: string;
  verdict: string;
  exercised: number;
  armed: boolean;
  times: number;
  reason: string;
  says: string;
  pages: string[];
}

export type Pair = [string, string];

/** Something that lasts: its lane, begin and end (ns), first and last record; `row` is where it is drawn in the lane. */
export interface Span {
  lane: number;
  begin: number;
  end: number;
  first: number;
  last: number;
  label: string;
  look: string;
  row: number;
}

/** Known orders as columns: a record, one that comes after it, and the place of the reason. */
export interface Order {
  before: Int32Array;
  after: Int32Array;
  why: Int32Array;
}

/** begin, end (ns), text, record. */
export type GapRow = [number, number, string, number];

export interface RunDocument {
  version: number;
  kind: "run";
  harness: string;
  run: string;
  guest: string;
  worth: string;
  /** What the guest is, "" for Windows. */
  guest_is: string;
  verdict: string;
  sentence: string;
  failure_class: string;
  failure: { class: string; stage: string; message: string[]; witnesses: Witness[] } | null;
  outcome: string;
  reasons: string[];
  findings: Finding[];
  more_findings: number;
  rules: Rule[];
  coverage: string;
  observations: { name: string; question: string; values: Pair[] }[];
  operations: { index: number; text: string; state: string; record: number }[];
  evidence: { why: string; items: { name: string; state: string; bytes: number; text: string }[] } | null;
  environment: Pair[];
  digests: Pair[];
  commands: Pair[];
  history: {
    name: string;
    joined: string;
    damage: string;
    records: number;
    left_out: [string, number][];
  };
  lanes: { key: string; title: string }[];
  kinds: string[];
  sources: string[];
  gaps: GapRow[];
  order_reasons: string[];
}

/** Return an element of an array that is known to be there. */
export function at<T>(values: ArrayLike<T>, index: number): T {
  return values[index] as T;
}

export interface RecordColumns {
  number: Int32Array;
  /** Nanoseconds from the first add. */
  time: Float64Array;
  lane: Int32Array;
  kind: Int32Array;
  source: Int32Array;
  processor: Int32Array;
  subject: Int32Array;
  told: Int32Array;
}

/** The records as columns. A row is an index into all of them; rows are in the order of the file, numbers ascend. */
export class Records implements RecordColumns {
  readonly size: number;
  readonly number: Int32Array;
  readonly time: Float64Array;
  readonly lane: Int32Array;
  readonly kind: Int32Array;
  readonly source: Int32Array;
  readonly processor: Int32Array;
  readonly subject: Int32Array;
  readonly told: Int32Array;

  constructor(columns: RecordColumns) {
    this.size = columns.number.length;
    this.number = columns.number;
    this.time = columns.time;
    this.lane = columns.lane;
    this.kind = columns.kind;
    this.source = columns.source;
    this.processor = columns.processor;
    this.subject = columns.subject;
    this.told = columns.told;
  }

  /** Return the row of a record's number, -1 if the report does not hold it. */
  row(number: number): number {
    const row = lowerBound(this.number, number);
    return this.number[row] === number ? row : -1;
  }
}

/**
 * Give the records of each finding names of their own: those of the first one are E1, E2, …, of the second one F1, F2, ….
 * The lines that speak of them follow.
 */
export function renamed(findings: readonly Finding[]): Finding[] {
  return findings.map((finding, place) => {
    const letter = String.fromCharCode(69 + (place % 22));
    const rename = (text: string): string => text.replace(/\bE(\d{1,2})\b/g, `${letter}$1`);
    return {
      ...finding,
      witnesses: finding.witnesses.map((witness) => ({ ...witness, name: rename(witness.name) })),
      chain: finding.chain.map(rename),
    };
  });
}

/** Return the first place in sorted `values` that is not below `wanted`. */
export function lowerBound(values: ArrayLike<number>, wanted: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(values, middle) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
