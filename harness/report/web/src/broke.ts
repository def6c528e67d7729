// SPDX-License-Identifier: MIT
/** What decided the verdict: a card for each cause, then in one place what may follow from it, and warnings. */

import { el, source } from "./dom";
import type { CountedList, Finding, RunDocument, Witness } from "./document";
import { counted } from "./format";
import { section, type Select } from "./sections";
import { terms } from "./terms";

const MOST_CARDS = 6;

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
        el("span", { class: "text" }, one.text, ...values(one)),
      ),
    ),
  );
  return el("ol", { class: "witnesses" }, ...items);
}

function values(one: Witness): (Node | string)[] {
  return one.telling.flatMap((value) => [" ", el("strong", { class: "telling" }, value)]);
}

/** Return the records that a rule counts: where something is missing, its witnesses cannot show it. */
function countedList(list: CountedList, select: Select): HTMLElement {
  const rows = list.witnesses.map((one) =>
    el("li", {}, el("button", { type: "button", class: "link", click: () => select(one.record) }, `record ${one.record}`),
      el("span", { class: "quiet" }, ` ${one.who} `), one.text, ...values(one)),
  );
  return el("div", { class: "counted" },
    el("p", {}, el("strong", {}, `${list.title}: `), rows.length ? null : "none."),
    rows.length ? el("ol", {}, ...rows) : null,
    list.more ? el("p", { class: "quiet" }, `And ${counted(list.more, "more")}.`) : null);
}

function card(finding: Finding, select: Select, others: readonly Finding[] = []): HTMLElement {
  const attempt = [finding.attempt, finding.step && !finding.fault.endsWith("of the plan") ? `step ${finding.step} of the plan` : ""].filter(Boolean).join(", ");
  const word = finding.verdict === "violated" ? (finding.minor ? "warning" : "violated") : finding.verdict === "holds" ? "found" : finding.verdict;
  const more = [...finding.chain, finding.clock].filter(Boolean);
  const kind = finding.minor ? "minor" : finding.verdict;
  const head = el("h3", {}, el("code", {}, finding.rule), " ", el("span", { class: `chip ${kind}` }, word));
  // Of one that follows the summary says what was seen.
  const reason = finding.follows ? null : el("p", { class: "reason" }, el("strong", {}, finding.verdict === "violated" ? "Instead: " : "Here: "), sentence(finding.reason));
  const body = [
    finding.says ? el("p", { class: "says" }, el("strong", {}, "The rule: "), sentence(finding.says)) : null,
    reason,
    el("p", { class: "fault" }, el("strong", {}, "At fault: "), finding.fault, attempt ? el("span", { class: "quiet" }, ` (${attempt})`) : null),
    finding.witnesses.length ? witnesses(finding.witnesses, select, finding.rule) : null,
    finding.counted ? countedList(finding.counted, select) : null,
    more.length
      ? el("details", {}, el("summary", {}, "Why these records show it"), el("ul", {}, ...more.map((line) => el("li", {}, line))))
      : null,
    again(finding, others, select),
    finding.pages.length ? el("p", { class: "sources" }, "Documented in ", ...joined(finding.pages.map(source))) : null,
  ];
  if (!finding.follows) return el("article", { class: `card ${kind}` }, head, ...body);
  const summary = el("summary", {}, head, el("span", { class: "quiet" }, sentence(finding.reason)));
  return el("article", { class: `card follows ${kind}` }, el("details", {}, summary, ...body));
}

/** Return the other times that a rule is broken: findings of their own, and those with the same cause. */
function again(finding: Finding, others: readonly Finding[], select: Select): HTMLElement | null {
  const times = others.length + finding.times;
  if (!times) return null;
  const left = finding.times - finding.again.length;
  // What is the same each time stands there once: the words, and the record that all are compared with.
  const shown = new Set(finding.witnesses.map((one) => one.record));
  const byReason = new Map<string, Finding[]>();
  for (const other of others) byReason.set(other.reason, [...(byReason.get(other.reason) ?? []), other]);
  const apart = (other: Finding): Witness[] => {
    const own = other.witnesses.filter((one) => !shown.has(one.record));
    return own.length ? own : other.witnesses;
  };
  return el("details", {},
    el("summary", {}, `The same rule, ${counted(times, "more time")}`),
    finding.again.length
      ? el("ul", {}, ...finding.again.map((line) => el("li", {}, sentence(line))), left > 0 ? el("li", { class: "quiet" }, `The same again, ${counted(left, "time")}.`) : null)
      : null,
    ...[...byReason].flatMap(([words, same]) => [el("p", { class: "reason" }, sentence(words)), witnesses(same.flatMap(apart), select, finding.rule)]));
}

/** A line of something that follows: the rule, its verdict, and what it says. */
function line(data: RunDocument, text: string): HTMLElement {
  const [, name = "", said = text] = /^([A-Z][A-Z0-9-]+): ([^]*)$/.exec(text) ?? [];
  const rule = data.rules.find((one) => one.rule === name);
  if (!rule) return el("li", {}, sentence(text));
  return el("li", {}, el("code", {}, name), " ", el("span", { class: `chip ${rule.verdict}` }, rule.verdict), " ", sentence(said));
}

/** Return what decided the verdict, first of all on the page; null if nothing did. */
export function broke(data: RunDocument, select: Select): HTMLElement | null {
  const deciding = data.findings.filter((finding) => !finding.minor && finding.verdict !== "holds");
  const broken = deciding.filter((finding) => finding.verdict === "violated");
  const message = data.failure?.message[0] ?? "";
  // What ended the run is told once, with the first rule that says so.
  const repeats = (finding: Finding): boolean => message !== "" && finding.reason.includes(message);
  const all = broken.length ? broken : deciding;
  const shown = all.filter((finding) => !repeats(finding) || finding === all.find(repeats));
  const failed = data.failure ? failureCard(data, data.failure, select) : null;
  const byRule = new Map<string, Finding[]>();
  for (const finding of shown) byRule.set(finding.rule, [...(byRule.get(finding.rule) ?? []), finding]);
  // Also those that the same cause breaks, which have no card of their own: each rule once.
  const lines = new Map<string, string>();
  const said = new Map<string, string>();
  for (const [rule, [first]] of [...byRule]) {
    const other = first?.follows ? said.get(first.reason) : undefined;
    if (first && other === undefined) said.set(first.reason, rule);
    if (other === undefined) continue;
    lines.set(rule, `${rule}: the same as ${other}`);
    byRule.delete(rule);
  }
  for (const text of shown.flatMap((one) => one.consequences)) {
    const rule = nameOf(text);
    if (!byRule.has(rule) && !lines.has(rule)) lines.set(rule, text);
  }
  const names = [...byRule.keys(), ...(broken.length ? lines.keys() : [])];
  const children: Node[] = [];
  if (failed && !broken.length) children.push(failed);
  if (names.length > 1) children.push(el("p", { class: "broken" }, `${counted(names.length, "rule")}: `, ...joined(names.map((rule) => leads(rule, shown, select)))));
  const cards = [...byRule.values()].slice(0, MOST_CARDS).flatMap(([first, ...others]) => (first ? [{ first, made: card(first, select, others.slice(0, 20)) }] : []));
  children.push(...cards.filter(({ first }) => !first.follows).map(({ made }) => made));
  const follow = cards.filter(({ first }) => first.follows);
  const told = new Set([...names, ...lines.keys()]);
  const reasons = data.verdict === "holds" ? [] : data.reasons.filter((reason) => !told.has(nameOf(reason)) && reason !== data.sentence && !(failed && message !== "" && reason.includes(message)));
  const after = [
    ...follow.map(({ made }) => made),
    lines.size ? el("ul", { class: "reasons" }, ...[...lines.values()].map((text) => line(data, text))) : null,
    failed && broken.length ? failed : null,
    reasons.length ? el("p", { class: "quiet" }, "Not known besides:") : null,
    reasons.length ? el("ul", { class: "reasons" }, ...reasons.map((reason) => line(data, reason))) : null,
  ].filter((part) => part !== null);
  if (after.length) {
    const title = broken.length ? "What may follow from it" : "What is therefore not known";
    const rules = [...follow.map(({ first }) => first.rule), ...lines.keys(), ...reasons.map(nameOf)].filter(Boolean);
    children.push(el("details", { class: "after", open: true }, el("summary", {}, rules.length ? `${title}: ${counted(rules.length, "rule")}` : title), ...after));
  }
  const more = byRule.size - MOST_CARDS + data.more_findings;
  if (more > 0) children.push(el("p", { class: "quiet" }, `And ${counted(more, "more")}: the table of rules has them all.`));
  if (children.length === 0) return null;
  const words = terms(data);
  if (words) children.push(words);
  return section("broke", data.verdict === "violated" ? "What broke" : "Why it is not known", ...children);
}

/** Return the name of a rule that selects the first record of its cause. */
function leads(rule: string, shown: readonly Finding[], select: Select): HTMLElement {
  return el("button", { type: "button", class: "link", click: () => {
    const cause = causeOf(rule, shown);
    const record = cause?.witnesses[0]?.record;
    if (cause && record !== undefined) select(record, cause.rule);
  } }, rule);
}

/** Return what ended the run early: the stage, the message, and what was last recorded before it. */
function failureCard(data: RunDocument, failure: NonNullable<RunDocument["failure"]>, select: Select): HTMLElement {
  return el(
    "article",
    { class: "card unknown" },
    el("h3", {}, "The run ended early: stage ", el("code", {}, failure.stage), " failed ", el("span", { class: "chip unknown" }, data.failure_class || failure.class)),
    el("pre", { class: "message", tabindex: 0 }, failure.message.join("\n")),
    witnesses(failure.witnesses, select),
  );
}

/** Return the finding that says why a rule is broken: its own, or the one that has it among its consequences. */
function causeOf(rule: string, findings: readonly Finding[]): Finding | undefined {
  const consequence = (finding: Finding): boolean => finding.consequences.some((text) => nameOf(text) === rule);
  return findings.find((finding) => finding.rule === rule) ?? findings.find(consequence);
}

export function warnings(data: RunDocument, select: Select): HTMLElement | null {
  const minor = data.findings.filter((finding) => finding.minor && finding.verdict !== "unknown");
  if (minor.length === 0) return null;
  return section("warnings", "Warnings and remarks", ...minor.slice(0, 20).map((finding) => card(finding, select)));
}

function nameOf(text: string): string {
  return /^[A-Z][A-Z0-9-]+(?=:)/.exec(text)?.[0] ?? "";
}

function sentence(text: string): string {
  // A name that a sentence begins with stays as it is.
  const first = /^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

function joined(nodes: readonly Node[]): (Node | string)[] {
  return nodes.flatMap((node, place) => (place ? [", ", node] : [node]));
}
