// SPDX-License-Identifier: MIT
/** Many runs: points by repetitions, which of them flip, which rules were broken and which never put to the test. */

import { el } from "./dom";
import { counted } from "./format";
import { reportLink } from "./links";
import { MARKS, section } from "./sections";

interface Cell {
  repetition: number;
  word: string;
  run: string;
  link: string;
  says: string;
  rules: string[];
}

export interface SetDocument {
  kind: "set";
  harness: string;
  name: string;
  verdict: string;
  sentence: string;
  worth: string;
  points: { name: string; flips: boolean; cells: Cell[] }[];
  flips: { point: string; counts: [string, number][]; rules: { rule: string; violated: number; kept: number }[] }[];
  broken: { rule: string; says: string; runs: [string, string][]; more: number }[];
  coverage: { rule: string; level: string; says: string; armed: number; exercised: number; violated: number; unknown: number }[];
  runs: number;
  left_out: number;
}

export function showSet(page: HTMLElement, data: SetDocument): void {
  document.title = `${data.verdict.toUpperCase()}: ${counted(data.runs, "run")} in ${data.name}`;
  const look = data.verdict in MARKS ? data.verdict : "unknown";
  const head = el(
    "header",
    { class: `verdict ${look}` },
    el("h1", {},
      el("span", { class: "word" }, el("span", { class: "mark", "aria-hidden": "true" }, MARKS[look] ?? "?"), data.verdict.toUpperCase()),
      el("span", { class: "on" }, ` ${counted(data.runs, "run")} in ${data.name}`),
      el("span", { class: "why" }, data.sentence)),
    data.worth ? el("p", { class: "quiet" }, data.worth) : null,
  );
  const parts = [
    data.broken.length ? section("broke", "What broke", ...data.broken.map((one) => brokenRule(one))) : null,
    data.flips.length ? section("flips", "What flips", el("p", { class: "quiet" }, "The same point came to different ends."), flips(data)) : null,
    section("matrix", "Runs", matrix(data), data.left_out ? el("p", {}, `${counted(data.left_out, "more run")} are not shown.`) : null),
    section("rules", "Rules", coverage(data)),
  ];
  page.append(head, ...parts.filter((part) => part !== null), el("footer", {}, `Made by Hotplug Harness ${data.harness}. This file is whole: it fetches nothing. The links lead to the reports of the runs, where those still are.`));
}

function brokenRule(one: SetDocument["broken"][number]): HTMLElement {
  const runs = one.runs.flatMap(([run, link], place) => [place ? ", " : "", reportLink(link, 0, run)]);
  return el("article", { class: "card violated" }, el("h3", {}, el("code", {}, one.rule)),
    one.says ? el("p", {}, el("strong", {}, "The rule: "), one.says) : null,
    el("p", {}, el("strong", {}, `Broken in ${counted(one.runs.length + one.more, "run")}: `), ...runs, one.more ? ` and ${counted(one.more, "more")}` : null));
}

function scroll(label: string, table: HTMLElement): HTMLElement {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}

function heads(...names: string[]): HTMLElement {
  return el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name))));
}

function flips(data: SetDocument): HTMLElement {
  const rows = data.flips.map((one) =>
    el("tr", {}, el("th", { scope: "row" }, one.point),
      el("td", {}, one.counts.map(([word, count]) => `${count} ${word}`).join(", ")),
      el("td", {}, one.rules.map(({ rule, violated, kept }) => `${rule}: broken ${violated} of ${violated + kept}`).join("; "))));
  return scroll("Table of flips", el("table", {}, heads("Point", "Ends", "Rules broken in some of its runs and kept in others"), el("tbody", {}, ...rows)));
}

function matrix(data: SetDocument): HTMLElement {
  const most = data.points.reduce((sum, one) => Math.max(sum, ...one.cells.map((cell) => cell.repetition)), 1);
  const columns = Array.from({ length: most }, (_, place) => place + 1);
  const rows = data.points.map((one) =>
    el("tr", {}, el("th", { scope: "row" }, one.name, one.flips ? " " : null, one.flips ? el("span", { class: "chip unknown" }, "flips") : null),
      ...columns.map((column) => el("td", {}, ...one.cells.filter((cell) => cell.repetition === column).map((cell) => mark(cell))))));
  return scroll("Points by repetitions", el("table", { class: "matrix" }, heads("Point", ...columns.map(String)), el("tbody", {}, ...rows)));
}

function mark(cell: Cell): HTMLElement {
  const look = cell.word in MARKS ? cell.word : "unknown";
  const link = reportLink(cell.link, 0, cell.word);
  link.title = `${cell.run}: ${cell.says}`;
  return el("div", { class: `cell ${look}` }, el("span", { "aria-hidden": "true" }, `${MARKS[look] ?? "?"} `), link,
    cell.rules.length ? el("small", {}, cell.rules.slice(0, 2).join(", "), cell.rules.length > 2 ? ` and ${cell.rules.length - 2} more` : null) : null);
}

function coverage(data: SetDocument): HTMLElement {
  const idle = data.coverage.filter((rule) => rule.exercised === 0).length;
  const rows = [...data.coverage].sort((a, b) => b.violated - a.violated || b.unknown - a.unknown || Number(b.exercised === 0) - Number(a.exercised === 0));
  const text = `${counted(data.coverage.length, "rule")}: ${data.coverage.length - idle} put to the test, ${idle} never`;
  const body = rows.map((rule) =>
    el("tr", { class: rule.exercised ? "" : "idle" }, el("th", { scope: "row" }, rule.rule), el("td", {}, rule.level),
      ...[rule.armed, rule.exercised, rule.violated, rule.unknown].map((count) => el("td", { class: "time" }, count ? String(count) : "–")),
      el("td", {}, rule.says)));
  return el("details", {}, el("summary", {}, text),
    scroll("Table of rules", el("table", { class: "rules" }, heads("Rule", "Level", "Armed in", "Judged in", "Violated in", "Unknown in", "What it says"), el("tbody", {}, ...body))));
}
