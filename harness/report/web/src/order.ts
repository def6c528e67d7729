// SPDX-License-Identifier: MIT
/** What is known to come before and after a record, and why. */

import { at, lowerBound, type RunDocument } from "./document";

export interface Neighbour {
  record: number;
  why: string;
}

/** The known orders, found by either end. */
export class Neighbours {
  private readonly byBefore: RunDocument["order"];
  private readonly byAfter: RunDocument["order"];
  private readonly befores: Int32Array;
  private readonly afters: Int32Array;

  constructor(
    order: RunDocument["order"],
    private readonly reasons: Record<string, string>,
  ) {
    this.byBefore = [...order].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    this.byAfter = [...order].sort((a, b) => a[1] - b[1] || a[0] - b[0]);
    this.befores = Int32Array.from(this.byBefore, (one) => one[0]);
    this.afters = Int32Array.from(this.byAfter, (one) => one[1]);
  }

  /** Return the neighbours of a record. */
  of(record: number): { before: Neighbour[]; after: Neighbour[] } {
    const before: Neighbour[] = [];
    const after: Neighbour[] = [];
    for (let place = lowerBound(this.afters, record); this.afters[place] === record; place++) {
      const [other, , why] = at(this.byAfter, place);
      before.push({ record: other, why: this.reasons[why] ?? why });
    }
    for (let place = lowerBound(this.befores, record); this.befores[place] === record; place++) {
      const [, other, why] = at(this.byBefore, place);
      after.push({ record: other, why: this.reasons[why] ?? why });
    }
    return { before, after };
  }
}
