// SPDX-License-Identifier: MIT
/** What is known to come before and after a record, and why. */

import { at, lowerBound, type Order } from "./document";

export interface Neighbour {
  record: number;
  why: string;
}

/** Places of orders, sorted by one of their ends, and that end of each. */
interface Ends {
  places: Int32Array;
  keys: Int32Array;
}

const NONE: Order = { before: new Int32Array(), after: new Int32Array(), why: new Int32Array() };
const PLACES = 2 ** 21;

/** The known orders, found by either end. They are sorted when they are first asked for, not while the page is painted. */
export class Neighbours {
  private sorted: [before: Ends, after: Ends] | null = null;

  constructor(
    private readonly reasons: readonly string[],
    public order: Order = NONE,
  ) {}

  /** Take the orders, which the page reads when it has been painted. */
  fill(order: Order): void {
    this.order = order;
    this.sorted = null;
  }

  /** Return the neighbours of a record. */
  of(record: number): { before: Neighbour[]; after: Neighbour[] } {
    this.sorted ??= [sorted(this.order.before), sorted(this.order.after)];
    const [before, after] = this.sorted;
    return { before: this.found(after, record, this.order.before), after: this.found(before, record, this.order.after) };
  }

  private found({ places, keys }: Ends, record: number, others: Int32Array): Neighbour[] {
    const neighbours: Neighbour[] = [];
    for (let found = lowerBound(keys, record); keys[found] === record; found++) {
      const place = at(places, found);
      neighbours.push({ record: at(others, place), why: at(this.reasons, at(this.order.why, place)) });
    }
    return neighbours;
  }
}

/** Sort by one end, those of the same record as they are in the file: numbers sort faster than pairs. */
function sorted(ends: Int32Array): Ends {
  const both = Float64Array.from(ends, (end, place) => end * PLACES + place).sort();
  return { places: Int32Array.from(both, (one) => one % PLACES), keys: Int32Array.from(both, (one) => Math.floor(one / PLACES)) };
}
