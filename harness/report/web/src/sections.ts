// SPDX-License-Identifier: MIT
/** The parts of the page that are text: the verdict, what broke, what was seen, how the run was made, how to go on. */

import { command, el, source } from "./dom";
import type { Finding, RunDocument, Witness } from "./document";
import { bytes, counted } from "./format";

const MOST_CARDS = 6;

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

function witnesses(list: readonly Witness[], select: Select, rule = ""): HTMLElement {
  const items = list.map((one) =>
    el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "witness", click: () => select(one.record, rule), title: one.values || undefined },
        one.name ? el("span", { class: "name" }, one.name) : null,
        el("span", { class: "number" }, `record ${one.record}`),
        el("span", { class: "who" }, one.who),
        el("span", { class: "text" }, one.text, ...one.telling.flatMap((value) => [" ", el("strong", { class: "telling" }, value)])),
      ),
    ),
  );
  return el("ol", { class: "witnesses" }, ...items);
}

function card(finding: Finding, select: Select, others: readonly Finding[] = []): HTMLElement {
  const attempt = [finding.attempt, finding.step ? `step ${finding.step} of the plan` : ""].filter(Boolean).join(", ");
  const word = finding.verdict === "violated" ? (finding.minor ? "warning" : "violated") : finding.verdict === "holds" ? "found" : finding.verdict;
  const more = [...finding.chain, finding.clock].filter(Boolean);
  const times = others.length + finding.again;
  const kind = finding.minor ? "minor" : finding.verdict;
  const head = el("h3", {}, el("code", {}, finding.rule), " ", el("span", { class: `chip ${kind}` }, word));
  const body = [
    finding.says ? el("p", { class: "says" }, el("strong", {}, "The rule: "), sentence(finding.says)) : null,
    el("p", { class: "reason" }, el("strong", {}, finding.verdict === "violated" ? "Instead: " : "Here: "), sentence(finding.reason)),
    el("p", { class: "fault" }, el("strong", {}, "At fault: "), finding.fault, attempt ? el("span", { class: "quiet" }, ` (${attempt})`) : null),
    finding.witnesses.length ? witnesses(finding.witnesses, select, finding.rule) : null,
    more.length
      ? el("details", {}, el("summary", {}, "Why these records show it"), el("ul", {}, ...more.map((line) => el("li", {}, line))))
      : null,
    times && !others.length ? el("p", { class: "quiet" }, `The same rule, ${counted(times, "more time")}.`) : null,
    others.length
      ? el(
          "details",
          {},
          el("summary", {}, `The same rule, ${counted(times, "more time")}`),
          ...others.flatMap((other) => [el("p", { class: "reason" }, sentence(other.reason)), witnesses(other.witnesses, select, other.rule)]),
        )
      : null,
    finding.consequences.length
      ? el("details", {}, el("summary", {}, sameCause(finding.consequences)), el("ul", {}, ...finding.consequences.map((line) => el("li", {}, line))))
      : null,
    finding.pages.length ? el("p", { class: "sources" }, "Documented in ", ...joined(finding.pages.map(source))) : null,
  ];
  if (!finding.follows) return el("article", { class: `card ${kind}` }, head, ...body);
  const summary = el("summary", {}, head, el("span", { class: "quiet" }, sentence(finding.reason)));
  return el("article", { class: `card follows ${kind}` }, el("details", {}, summary, ...body));
}

/** Return how many more rules a cause breaks, with their names. */
function sameCause(consequences: readonly string[]): string {
  const names = [...new Set(consequences.map((line) => line.split(":")[0] ?? ""))];
  return `The same cause breaks ${counted(names.length, "more rule")}: ${names.join(", ")}`;
}

/** Return what decided the verdict, first of all on the page; null if nothing did. */
export function broke(data: RunDocument, select: Select): HTMLElement | null {
  const deciding = data.findings.filter((finding) => !finding.minor && finding.verdict !== "holds");
  const broken = deciding.filter((finding) => finding.verdict === "violated");
  const message = data.failure?.message[0] ?? "";
  // What ended the run is told once, with the first rule that says so.
  const again = (finding: Finding): boolean => message !== "" && finding.reason.includes(message);
  const all = broken.length ? broken : deciding;
  const shown = all.filter((finding) => !again(finding) || finding === all.find(again));
  const told = new Set(shown.flatMap((one) => [one.rule, ...one.consequences.map((line) => line.split(":")[0])]));
  const reasons = data.reasons.filter((reason) => !told.has(reason.split(":")[0] ?? "") && reason !== data.sentence);
  const children: Node[] = [];
  const failed = data.failure ? failureCard(data, data.failure, select) : null;
  if (failed && !broken.length) children.push(failed);
  const byRule = new Map<string, Finding[]>();
  for (const finding of shown) byRule.set(finding.rule, [...(byRule.get(finding.rule) ?? []), finding]);
  // Also those that the same cause breaks, which have no card of their own.
  const minor = new Set(data.findings.filter((finding) => finding.minor).map((finding) => finding.rule));
  const violated = data.rules.filter((rule) => rule.verdict === "violated" && !minor.has(rule.rule)).map((rule) => rule.rule);
  const among = violated.filter((rule) => !byRule.has(rule) && causeOf(rule, broken) !== undefined);
  const names = broken.length ? [...byRule.keys(), ...among] : [...byRule.keys()];
  if (names.length > 1) {
    const chips = names.map((rule) =>
      el("button", { type: "button", class: "link", click: () => {
        const cause = causeOf(rule, shown);
        const record = cause?.witnesses[0]?.record;
        if (cause && record !== undefined) select(record, cause.rule);
      } }, rule),
    );
    children.push(el("p", { class: "broken" }, `${counted(names.length, "rule")}: `, ...joined(chips)));
  }
  const cards = [...byRule.values()].slice(0, MOST_CARDS);
  let followed = false;
  for (const [first, ...others] of cards) {
    if (!first) continue;
    if (first.follows && !followed) children.push(el("p", { class: "quiet after" }, broken.length ? "What may follow from it:" : "What is therefore not known:"));
    followed ||= first.follows;
    children.push(card(first, select, others.slice(0, 20)));
  }
  if (failed && broken.length) children.push(failed);
  const more = byRule.size - MOST_CARDS + data.more_findings;
  if (more > 0) children.push(el("p", { class: "quiet" }, `And ${counted(more, "more")}: the table of rules has them all.`));
  if (data.verdict !== "holds" && reasons.length) {
    children.push(el("ul", { class: "reasons" }, ...reasons.map((reason) => el("li", {}, reason))));
  }
  if (children.length === 0) return null;
  return section("broke", data.verdict === "violated" ? "What broke" : "Why it is not known", ...children);
}

/** Return what ended the run early: the stage, the message, and what was last recorded before it. */
function failureCard(data: RunDocument, failure: NonNullable<RunDocument["failure"]>, select: Select): HTMLElement {
  return el(
    "article",
    { class: "card unknown" },
    el("h3", {}, "Stage ", el("code", {}, failure.stage), " failed ", el("span", { class: "chip unknown" }, data.failure_class || failure.class)),
    el("pre", { class: "message", tabindex: 0 }, failure.message.join("\n")),
    witnesses(failure.witnesses, select),
  );
}

/** Return the finding that says why a rule is broken: its own, or the one that has it among its consequences. */
function causeOf(rule: string, findings: readonly Finding[]): Finding | undefined {
  const consequence = (finding: Finding): boolean => finding.consequences.some((line) => line.split(":")[0] === rule);
  return findings.find((finding) => finding.rule === rule) ?? findings.find(consequence);
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

export function warnings(data: RunDocument, select: Select): HTMLElement | null {
  const minor = data.findings.filter((finding) => finding.minor && finding.verdict !== "unknown");
  if (minor.length === 0) return null;
  return section("warnings", "Warnings and remarks", ...minor.slice(0, 20).map((finding) => card(finding, select)));
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

function sentence(text: string): string {
  // A name that a sentence begins with stays as it is.
  const first = /^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

function joined(nodes: readonly Node[]): (Node | string)[] {
  return nodes.flatMap((node, place) => (place ? [", ", node] : [node]));
}
