// SPDX-License-Identifier: MIT
/** The document of a report, as harness/report/page/document.py writes it, and its records as columns. */

export interface Witness {
  name: string;
  record: number;
  who: string;
  text: string;
  values: string;
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

/** lane, begin, end (ns), first and last record, label, look. */
export type SpanRow = [number, number, number, number, number, string, string];

/** begin, end (ns), text, record. */
export type GapRow = [number, number, string, number];

export interface RunDocument {
  version: number;
  kind: "run";
  harness: string;
  run: string;
  guest: string;
  worth: string;
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
  records: Record<"n" | "t" | "lane" | "kind" | "source" | "cpu" | "nt" | "told", number[]>;
  spans: SpanRow[];
  gaps: GapRow[];
  order: [number, number, string][];
  order_reasons: Record<string, string>;
}

/** Return an element of an array that is known to be there. */
export function at<T>(values: ArrayLike<T>, index: number): T {
  return values[index] as T;
}

/** The records as columns. A row is an index into all of them; rows are in the order of the file. */
export class Records {
  readonly size: number;
  readonly number: Int32Array;
  /** Nanoseconds from the first add. */
  readonly time: Float64Array;
  readonly lane: Int32Array;
  readonly kind: Int32Array;
  readonly source: Int32Array;
  readonly processor: Int32Array;
  readonly subject: Int32Array;
  readonly told: Uint8Array;
  private readonly rows = new Map<number, number>();

  constructor(columns: RunDocument["records"]) {
    this.size = columns.n.length;
    this.number = Int32Array.from(summed(columns.n));
    this.time = Float64Array.from(summed(columns.t));
    this.lane = Int32Array.from(columns.lane);
    this.kind = Int32Array.from(columns.kind);
    this.source = Int32Array.from(columns.source);
    this.processor = Int32Array.from(columns.cpu);
    this.subject = Int32Array.from(columns.nt);
    this.told = Uint8Array.from(columns.told);
    this.number.forEach((number, row) => this.rows.set(number, row));
  }

  /** Return the row of a record's number, -1 if the report does not hold it. */
  row(number: number): number {
    return this.rows.get(number) ?? -1;
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

/** Return the running sums of steps. */
export function summed(steps: readonly number[]): number[] {
  let sum = 0;
  return steps.map((step) => (sum += step));
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
