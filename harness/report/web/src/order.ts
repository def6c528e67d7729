// SPDX-License-Identifier: MIT
/** What is known to come before and after a record, and why. */

import { at, lowerBound, type RunDocument } from "./document";

export interface Neighbour {
  record: number;
  why: string;
}

interface Ends {
  order: RunDocument["order"];
  keys: Int32Array;
}

/** The known orders, found by either end. They are sorted when they are first asked for, not while the page is painted. */
export class Neighbours {
  private sorted: [before: Ends, after: Ends] | null = null;

  constructor(
    private readonly order: RunDocument["order"],
    private readonly reasons: Record<string, string>,
  ) {}

  /** Return the neighbours of a record. */
  of(record: number): { before: Neighbour[]; after: Neighbour[] } {
    this.sorted ??= [this.by(0, 1), this.by(1, 0)];
    const [before, after] = this.sorted;
    return { before: this.found(after, record, 0), after: this.found(before, record, 1) };
  }

  private by(first: 0 | 1, second: 0 | 1): Ends {
    const order = [...this.order].sort((a, b) => a[first] - b[first] || a[second] - b[second]);
    return { order, keys: Int32Array.from(order, (one) => one[first]) };
  }

  private found({ order, keys }: Ends, record: number, other: 0 | 1): Neighbour[] {
    const neighbours: Neighbour[] = [];
    for (let place = lowerBound(keys, record); keys[place] === record; place++) {
      const known = at(order, place);
      neighbours.push({ record: known[other], why: this.reasons[known[2]] ?? known[2] });
    }
    return neighbours;
  }
}
