// SPDX-License-Identifier: MIT
/** What of a run is looked at: a stretch of time, a record, a filter. The address' fragment holds it, so a link does too. */

import { at, lowerBound, type Records } from "./document";

export interface View {
  /** The visible stretch, in nanoseconds. */
  from: number;
  to: number;
  /** The selected record's number, 0 for none. */
  record: number;
  /** Filters: -1 and "" let everything pass. */
  lane: number;
  source: number;
  processor: number;
  rule: string;
  text: string;
  /** Also the records that explain little. */
  everything: boolean;
  /** Arrows of all known orders, not of the selected record alone. */
  arrows: boolean;
}

export const FILTERS = ["lane", "source", "processor", "rule", "text", "everything"] as const;

/** Return the fragment for a view: only what differs from `usual`. */
export function fragment(view: View, usual: View): string {
  const words: [string, string][] = [];
  if (view.from !== usual.from || view.to !== usual.to) {
    words.push(["t", `${Math.round(view.from)}~${Math.round(view.to)}`]);
  }
  if (view.record) words.push(["r", String(view.record)]);
  if (view.lane >= 0) words.push(["lane", String(view.lane)]);
  if (view.source >= 0) words.push(["source", String(view.source)]);
  if (view.processor >= 0) words.push(["cpu", String(view.processor)]);
  if (view.rule) words.push(["rule", view.rule]);
  if (view.text) words.push(["text", view.text]);
  if (view.everything) words.push(["all", "1"]);
  if (view.arrows) words.push(["arrows", "1"]);
  return words.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
}

/** Return the view that a fragment means; what it says wrongly, or not, is as in `usual`. */
export function fromFragment(text: string, usual: View): View {
  const said = new Map<string, string>();
  for (const word of text.replace(/^#/, "").split("&")) {
    const [name = "", value = ""] = word.split("=", 2);
    try {
      said.set(name, decodeURIComponent(value));
    } catch {
      // A link that was cut short.
    }
  }
  const whole = (name: string, otherwise: number): number => {
    const value = said.get(name) ?? "";
    return /^\d{1,15}$/.test(value) ? Number(value) : otherwise;
  };
  const stretch = /^(-?\d{1,19})~(-?\d{1,19})$/.exec(said.get("t") ?? "");
  const from = stretch ? Number(stretch[1]) : usual.from;
  const to = stretch ? Number(stretch[2]) : usual.to;
  return {
    ...usual,
    ...(from < to ? { from, to } : {}),
    record: whole("r", usual.record),
    lane: whole("lane", usual.lane),
    source: whole("source", usual.source),
    processor: whole("cpu", usual.processor),
    rule: (said.get("rule") ?? usual.rule).slice(0, 100),
    text: (said.get("text") ?? usual.text).slice(0, 200),
    everything: said.has("all") ? said.get("all") === "1" : usual.everything,
    arrows: said.has("arrows") ? said.get("arrows") === "1" : usual.arrows,
  };
}

/** Return a stretch inside `whole`, as long as the one asked for, if `whole` is that long, and never of no length. */
export function within(from: number, to: number, whole: { from: number; to: number }, least: number): [number, number] {
  const length = Math.min(Math.max(to - from, least), whole.to - whole.from);
  const begin = Math.min(Math.max(from, whole.from), whole.to - length);
  return [begin, begin + length];
}

/** Return the rows that pass the filters, in the order of the file. `ofRule` are the records that show a rule. */
export function passing(view: View, records: Records, ofRule: ReadonlySet<number> | null): number[] {
  const rows: number[] = [];
  for (let row = 0; row < records.size; row++) {
    const told = view.everything || at(records.told, row) === 1 || at(records.number, row) === view.record;
    if (
      told &&
      (view.lane < 0 || at(records.lane, row) === view.lane) &&
      (view.source < 0 || at(records.source, row) === view.source) &&
      (view.processor < 0 ||
        at(records.processor, row) === view.processor ||
        at(records.subject, row) === view.processor) &&
      (ofRule === null || ofRule.has(at(records.number, row)))
    ) {
      rows.push(row);
    }
  }
  return rows;
}

/** Return the place in `rows`, which is sorted, that is next to `row`: the same, or the first one after it. */
export function placeOf(rows: readonly number[], row: number): number {
  return Math.min(lowerBound(rows, row), Math.max(0, rows.length - 1));
}

/** Holds the view, and reports its changes once per frame. */
export class Store {
  private readonly listeners: ((view: View, changed: ReadonlySet<keyof View>) => void)[] = [];
  private readonly changed = new Set<keyof View>();
  private planned = false;

  constructor(
    public view: View,
    private readonly soon: (work: () => void) => void = (work) => void requestAnimationFrame(work),
  ) {}

  listen(listener: (view: View, changed: ReadonlySet<keyof View>) => void): void {
    this.listeners.push(listener);
  }

  set(change: Partial<View>): void {
    for (const name of Object.keys(change) as (keyof View)[]) {
      if (change[name] !== this.view[name]) this.changed.add(name);
    }
    this.view = { ...this.view, ...change };
    if (this.changed.size > 0 && !this.planned) {
      this.planned = true;
      this.soon(() => {
        this.planned = false;
        const changed = new Set(this.changed);
        this.changed.clear();
        for (const listener of this.listeners) listener(this.view, changed);
      });
    }
  }
}
