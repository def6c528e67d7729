// SPDX-License-Identifier: MIT
/** The parts of the page that are text: the verdict, what was seen, how the run was made, how to go on. */

import { command, el } from "./dom";
import type { RunDocument } from "./document";
import { bytes, counted } from "./format";

export const MARKS: Record<string, string> = { holds: "✓", violated: "✗", unknown: "?", "not applicable": "–" };

export type Select = (record: number, rule?: string) => void;

/** Return a section with a heading, which the list of sections at the top leads to. */
export function section(id: string, title: string, ...children: (Node | null)[]): HTMLElement {
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), ...children);
}

export function header(data: RunDocument): HTMLElement {
  const worth = data.worth ? el("span", { class: "worth" }, data.worth) : null;
  const fact = (name: string): string => data.environment.find(([key]) => key === name)?.[1] ?? "";
  const parts = [
    ["Plan", fact("Plan")],
    ["Recorded", fact("Recorded").replace("T", " ").replace("Z", " UTC")],
    ["Length", fact("Length")],
    ["Failure class", data.verdict === "holds" ? "" : data.failure_class],
    ["Injected fault", fact("Injected fault")],
    ["Guest", data.guest_is],
    ["Run", data.run],
  ];
  return el(
    "header",
    { class: `verdict ${data.verdict}` },
    el(
      "h1",
      {},
      el("span", { class: "word" }, el("span", { class: "mark", "aria-hidden": "true" }, MARKS[data.verdict] ?? "?"), data.verdict.toUpperCase()),
      el("span", { class: "on" }, ` on ${data.guest}`),
      worth ? " " : null,
      worth,
      el("span", { class: "why" }, data.sentence),
    ),
    el(
      "dl",
      { class: "meta" },
      ...parts.filter(([, value]) => value).flatMap(([name = "", value = ""]) => [el("div", {}, el("dt", {}, name), el("dd", {}, value))]),
    ),
    el("p", { class: "quiet coverage" }, data.coverage),
  );
}

export function lost(data: RunDocument, select: Select): HTMLElement | null {
  const { damage, joined: note, left_out: left, records } = data.history;
  const items = data.gaps.map(([, , text, record]) =>
    el("li", {}, record ? el("button", { type: "button", class: "link", click: () => select(record) }, `record ${record}`) : null, record ? " " : null, text),
  );
  if (damage && data.gaps.length === 0) items.push(el("li", {}, damage));
  if (left.length) {
    const count = left.reduce((sum, [, number]) => sum + number, 0);
    const kinds = left.map(([kind, number]) => `${number.toLocaleString("en-US")} ${kind}`).join(", ");
    items.push(
      el("li", {}, el("strong", {}, `Left out of this page: ${counted(count, "record")} of ${records.toLocaleString("en-US")}`), ` (${kinds}). The verdict rests on all of them; the records that show it are here.`),
    );
  }
  if (note) items.push(el("li", {}, note));
  return items.length ? section("lost", "What was lost", el("ul", { class: "lost" }, ...items)) : null;
}

export function operations(data: RunDocument, select: Select): HTMLElement | null {
  if (data.operations.length === 0) return null;
  const marks: Record<string, string> = { well: "✓", badly: "✗", open: "?" };
  const words: Record<string, string> = { well: "as expected", badly: "not as expected", open: "not known" };
  const items = data.operations.map((one) =>
    el(
      "li",
      { class: one.state },
      el("span", { class: "mark", role: "img", "aria-label": words[one.state] ?? "" }, marks[one.state] ?? "?"),
      el("button", { type: "button", class: "link", click: () => select(one.record) }, `${one.index}.`),
      " ",
      one.text,
    ),
  );
  return section("operations", "What was done", el("ul", { class: "operations" }, ...items));
}

export function rules(data: RunDocument, follow: (rule: string) => void): HTMLElement {
  const order = ["violated", "unknown", "holds", "not applicable"];
  const rows = [...data.rules].sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict) || Number(b.exercised > 0) - Number(a.exercised > 0));
  const shown = new Set(data.findings.filter((one) => one.witnesses.length).map((one) => one.rule));
  const table = el(
    "table",
    { class: "rules" },
    el("thead", {}, el("tr", {}, ...["Rule", "Verdict", "Judged", "What it says"].map((head) => el("th", { scope: "col" }, head)))),
    el(
      "tbody",
      {},
      ...rows.map((rule) =>
        el(
          "tr",
          { class: rule.exercised ? "" : "idle" },
          el("th", { scope: "row" }, shown.has(rule.rule) ? el("button", { type: "button", class: "link", click: () => follow(rule.rule) }, rule.rule) : rule.rule),
          el("td", {}, el("span", { class: `chip ${rule.verdict.replace(" ", "-")}` }, `${MARKS[rule.verdict] ?? ""} ${rule.verdict}`)),
          el("td", { class: "time" }, rule.exercised ? `${rule.exercised}×` : rule.armed ? "armed" : "–"),
          el("td", {}, rule.says, rule.reason ? el("span", { class: "quiet" }, ` ${rule.reason}`) : null),
        ),
      ),
    ),
  );
  const box = el("details", {}, el("summary", {}, data.coverage), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of rules" }, table));
  return section("rules", "Rules", box);
}

export function observations(data: RunDocument): HTMLElement | null {
  if (data.observations.length === 0) return null;
  const rows = data.observations.map((one) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, one.question || one.name, one.question ? el("small", {}, ` ${one.name}`) : null),
      el("td", {}, one.values.map(([value, times]) => (times === "1" ? value : `${value} (${times}×)`)).join("; ")),
    ),
  );
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Question"), el("th", { scope: "col" }, "Seen"))), el("tbody", {}, ...rows));
  return section("observed", "Observed, where the documents are silent", el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of observations" }, table));
}

export function evidence(data: RunDocument): HTMLElement | null {
  if (data.evidence === null) return null;
  const rows = data.evidence.items.map((item) =>
    el("tr", {}, el("th", { scope: "row" }, item.name), el("td", {}, item.state), el("td", {}, item.text), el("td", { class: "time" }, item.bytes ? bytes(item.bytes) : "")),
  );
  const heads = ["What", "State", "Files, or why not", "Size"].map((head) => el("th", { scope: "col" }, head));
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
  return section("evidence", "Evidence", el("p", {}, data.evidence.why), rows.length ? el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of evidence" }, table) : null);
}

export function made(data: RunDocument): HTMLElement {
  const pairs = (rows: readonly [string, string][]): HTMLElement =>
    el("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  return section(
    "made",
    "Made of",
    pairs(data.environment),
    data.digests.length ? el("details", {}, el("summary", {}, `SHA-256 of ${counted(data.digests.length, "file")}`), pairs(data.digests)) : null,
  );
}

export function again(data: RunDocument): HTMLElement {
  return section("again", "Do it again", ...data.commands.map(([what, text]) => el("div", { class: "again" }, el("p", {}, what), command(text))));
}
