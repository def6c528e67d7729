// SPDX-License-Identifier: MIT
/** The selected record: what it says, where it stands in the history, what comes before and after it, its raw line. */

import { at, type Records, type RunDocument, type Span } from "./document";
import { el } from "./dom";
import { duration, milliseconds } from "./format";
import type { Neighbour, Neighbours } from "./order";
import type { Pieces } from "./pieces";

export class Detail {
  readonly element = el("section", { class: "detail", "aria-label": "Selected record", "aria-live": "polite" });
  private wanted = 0;

  constructor(
    private readonly data: RunDocument,
    private readonly spans: readonly Span[],
    private readonly records: Records,
    private readonly neighbours: Neighbours,
    private readonly pieces: Pieces,
    private readonly select: (record: number) => void,
  ) {
    this.show(0);
  }

  /** Show a record, 0 for none. */
  show(number: number): void {
    this.wanted = number;
    const row = number ? this.records.row(number) : -1;
    if (row < 0) {
      const text = number
        ? `Record ${number} is not in this report.`
        : "No record is selected. Click one in the timeline or in the table, or use the arrow keys in the timeline.";
      this.element.replaceChildren(el("p", { class: "quiet" }, text));
      return;
    }
    void this.pieces.text(row).then(([sentence, raw]) => {
      if (this.wanted === number) this.fill(row, number, sentence, raw);
    });
  }

  private fill(row: number, number: number, sentence: string, raw: string): void {
    const { before, after } = this.neighbours.of(number);
    const span = this.spans.find((one) => one.first === number || one.last === number);
    const processor = at(this.records.processor, row);
    const subject = at(this.records.subject, row);
    const facts: [string, string][] = [
      ["Lane", at(this.data.lanes, at(this.records.lane, row)).title],
      ["Source", at(this.data.sources, at(this.records.source, row))],
      ["Place", `${milliseconds(at(this.records.time, row))} ms from the first add`],
      ["Line", `${this.data.history.name}:${number}`],
      ["Kind", at(this.data.kinds, at(this.records.kind, row))],
    ];
    if (processor >= 0) facts.push(["Logged on processor", String(processor)]);
    if (subject >= 0) facts.push(["About processor", String(subject)]);
    if (span?.last) facts.push(["Took", duration(span.end - span.begin)]);
    const line = el("pre", { class: "raw", tabindex: 0, "aria-label": "Raw line" });
    line.textContent = pretty(raw);
    this.element.replaceChildren(
      el("h3", {}, el("span", { class: "number" }, `Record ${number}`), " ", el("span", {}, sentence)),
      el("dl", { class: "facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
      el(
        "div",
        { class: "neighbours" },
        this.side("Known to come before it", before),
        this.side("Known to come after it", after),
      ),
      line,
    );
  }

  private side(title: string, neighbours: readonly Neighbour[]): HTMLElement {
    const items = neighbours.slice(0, 12).map(({ record, why }) => {
      const button = el("button", { type: "button", class: "link", click: () => this.select(record) }, `record ${record}`);
      const text = el("span", { class: "quiet" });
      void this.pieces.text(this.records.row(record)).then(([sentence]) => {
        text.textContent = ` ${sentence} `;
      });
      return el("li", {}, button, text, el("small", {}, why));
    });
    return el("div", {}, el("h4", {}, title), items.length ? el("ul", {}, ...items) : el("p", { class: "quiet" }, "none"));
  }
}

/** Return a raw line with a field on each line, as it is if it is not one. */
export function pretty(raw: string): string {
  try {
    return JSON.stringify(JSON.parse(raw), null, 1).replace(/\n\s+/g, "\n  ");
  } catch {
    return raw;
  }
}
