// SPDX-License-Identifier: MIT
/** The records as a table, a page of it at a time: all that the picture holds, for the keyboard, a screen reader and paper. */

import { at, type Records, type RunDocument } from "./document";
import { el } from "./dom";
import { counted, milliseconds } from "./format";
import type { Pieces } from "./pieces";
import { placeOf } from "./view";

export const ROWS = 100;

export class RecordTable {
  readonly element: HTMLElement;
  private readonly body = el("tbody");
  private readonly caption = el("caption");
  private readonly table: HTMLTableElement;
  private readonly pages = el("span", { class: "pages" });
  private rows: readonly number[] = [];
  private page = 0;
  private selected = 0;

  constructor(
    private readonly data: RunDocument,
    private readonly records: Records,
    private readonly pieces: Pieces,
    private readonly select: (record: number) => void,
    private readonly rulesOf: ReadonlyMap<number, string>,
  ) {
    const heads = ["Record", "ms", "Lane", "Source", "What"];
    this.table = el(
      "table",
      { class: "records" },
      this.caption,
      el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
      this.body,
    );
    const turn = (text: string, by: number): HTMLElement =>
      el("button", { type: "button", click: () => this.turn(this.page + by) }, text);
    this.element = el(
      "div",
      {},
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of records" }, this.table),
      el("nav", { class: "turn", "aria-label": "Pages of the table" }, turn("Previous", -1), this.pages, turn("Next", 1)),
    );
  }

  /** Take the rows that pass the filters. */
  show(rows: readonly number[]): void {
    this.rows = rows;
    const selected = this.records.row(this.selected);
    this.turn(selected < 0 ? 0 : Math.floor(placeOf(rows, selected) / ROWS));
  }

  /** Mark a record, and turn to its page if it is in one. */
  mark(record: number): void {
    this.selected = record;
    const row = this.records.row(record);
    const place = placeOf(this.rows, row);
    if (row >= 0 && this.rows[place] === row && Math.floor(place / ROWS) !== this.page) {
      this.turn(Math.floor(place / ROWS));
      return;
    }
    for (const line of this.body.rows) this.paint(line);
  }

  private paint(line: HTMLTableRowElement): void {
    const chosen = line.dataset["record"] === String(this.selected);
    line.classList.toggle("selected", chosen);
    if (chosen) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
  }

  private turn(page: number): void {
    const pages = Math.max(1, Math.ceil(this.rows.length / ROWS));
    this.page = Math.min(Math.max(0, page), pages - 1);
    const shown = this.rows.slice(this.page * ROWS, (this.page + 1) * ROWS);
    this.caption.textContent = `${counted(this.rows.length, "record")} of ${counted(this.data.history.records, "record")} of the history`;
    this.pages.textContent = `page ${this.page + 1} of ${pages}`;
    this.table.setAttribute("aria-rowcount", String(this.rows.length + 1));
    this.body.replaceChildren(...shown.map((row, place) => this.line(row, this.page * ROWS + place + 2)));
  }

  private line(row: number, index: number): HTMLTableRowElement {
    const number = at(this.records.number, row);
    const what = el("td", { class: "what" });
    const rules = this.rulesOf.get(number);
    void this.pieces.text(row).then(([sentence]) => {
      what.append(sentence);
      if (rules) what.append(" ", el("span", { class: "chip bad" }, rules));
    });
    const line = el(
      "tr",
      { "data-record": String(number), "aria-rowindex": index },
      el("th", { scope: "row" }, el("button", { type: "button", class: "link", click: () => this.select(number) }, String(number))),
      el("td", { class: "time" }, milliseconds(at(this.records.time, row))),
      el("td", {}, at(this.data.lanes, at(this.records.lane, row)).title),
      el("td", {}, at(this.data.sources, at(this.records.source, row))),
      what,
    );
    this.paint(line);
    return line;
  }
}
