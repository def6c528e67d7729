// SPDX-License-Identifier: MIT
/** The controls of the timeline and of the table: stretches to jump to, and the filters. */

import type { RunDocument } from "./document";
import { el } from "./dom";
import type { Store, View } from "./view";

export class Toolbar {
  readonly element: HTMLElement;
  private readonly lane: HTMLSelectElement;
  private readonly source: HTMLSelectElement;
  private readonly processor: HTMLSelectElement;
  private readonly rule: HTMLSelectElement;
  private readonly text = el("input", { type: "search", placeholder: "words of a record", autocomplete: "off" });
  private readonly everything = el("input", { type: "checkbox" });
  private readonly arrows = el("input", { type: "checkbox" });
  private readonly said = el("span", { class: "quiet", role: "status" });

  constructor(
    data: RunDocument,
    private readonly store: Store,
    processors: readonly number[],
    jumps: readonly [string, () => void][],
  ) {
    const rules = [...new Set(data.findings.filter((one) => one.witnesses.length).map((one) => one.rule))];
    this.lane = choice("all lanes", data.lanes.map((lane, index): [string, string] => [String(index), lane.title]));
    this.source = choice("all sources", data.sources.map((source, index): [string, string] => [String(index), source]));
    this.processor = choice("all processors", processors.map((one): [string, string] => [String(one), `processor ${one}`]));
    this.rule = choice("all rules", rules.map((rule): [string, string] => [rule, rule]));
    const number = (value: string): number => (value === "" ? -1 : Number(value));
    this.lane.addEventListener("change", () => store.set({ lane: number(this.lane.value) }));
    this.source.addEventListener("change", () => store.set({ source: number(this.source.value) }));
    this.processor.addEventListener("change", () => store.set({ processor: number(this.processor.value) }));
    this.rule.addEventListener("change", () => store.set({ rule: this.rule.value }));
    this.text.addEventListener("input", () => store.set({ text: this.text.value.trim() }));
    this.everything.addEventListener("change", () => store.set({ everything: this.everything.checked }));
    this.arrows.addEventListener("change", () => store.set({ arrows: this.arrows.checked }));
    const labelled = (label: string, control: HTMLElement): HTMLElement => {
      control.id = `filter-${label.toLowerCase()}`;
      return el("div", { class: "field" }, el("label", { for: control.id }, label), control);
    };
    this.element = el(
      "div",
      { class: "toolbar", role: "group", "aria-label": "What is shown" },
      el("div", { class: "jumps" }, ...jumps.map(([label, jump]) => el("button", { type: "button", click: () => jump() }, label))),
      labelled("Lane", this.lane),
      labelled("Source", this.source),
      labelled("Processor", this.processor),
      rules.length ? labelled("Rule", this.rule) : null,
      labelled("Search", this.text),
      el("label", { class: "check" }, this.everything, el("span", {}, "every record")),
      el("label", { class: "check" }, this.arrows, el("span", {}, "known order")),
      el("button", { type: "button", click: () => this.clear() }, "Clear filters"),
      this.said,
    );
  }

  /** Show what the view is set to, and `said` about it. */
  show(view: View, said: string): void {
    const value = (number: number): string => (number < 0 ? "" : String(number));
    this.lane.value = value(view.lane);
    this.source.value = value(view.source);
    this.processor.value = value(view.processor);
    this.rule.value = view.rule;
    if (this.text.value.trim() !== view.text) this.text.value = view.text;
    this.everything.checked = view.everything;
    this.arrows.checked = view.arrows;
    this.said.textContent = said;
  }

  private clear(): void {
    this.store.set({ lane: -1, source: -1, processor: -1, rule: "", text: "", everything: false });
  }
}

function choice(all: string, options: readonly [string, string][]): HTMLSelectElement {
  return el("select", {}, el("option", { value: "" }, all), ...options.map(([value, text]) => el("option", { value }, text)));
}
