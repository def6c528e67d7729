// SPDX-License-Identifier: MIT
/** Two runs side by side: where they first differ, how they go on, and what is different about what they are made of. */

import { el } from "./dom";
import { counted } from "./format";
import { reportLink } from "./links";
import { MARKS, section } from "./sections";

/** A step: its place in the story, its words, its record. */
type Cell = [step: number, words: string, record: number] | null;

export interface ComparisonDocument {
  kind: "comparison";
  harness: string;
  verdict: "agree" | "differ" | "unknown";
  sentence: string;
  runs: { name: string; run: string; guest: string; worth: string; verdict: string; sentence: string; link: string; missing: string[]; unshown: string[] }[];
  differences: { story: string; step: number; before: number; after: number; rows: [kind: string, Cell, Cell][] }[];
  more: number;
  agreed: [story: string, steps: number][];
  made: [string, string, string][];
  same: [string, string][];
}

const LOOKS = { agree: "holds", differ: "violated", unknown: "unknown" };
const WORDS = { agree: "THEY AGREE", differ: "THEY DIFFER", unknown: "UNKNOWN" };

export function showComparison(page: HTMLElement, data: ComparisonDocument): void {
  const look = LOOKS[data.verdict];
  const names = data.runs.map((one) => `${one.run} on ${one.guest}`);
  document.title = `${WORDS[data.verdict]}: ${names.join(" and ")}`;
  const [first, ...others] = data.differences;
  const head = el(
    "header",
    { class: `verdict ${look}` },
    el("h1", {}, el("span", { class: "word" }, el("span", { class: "mark", "aria-hidden": "true" }, MARKS[look] ?? "?"), WORDS[data.verdict]),
      el("span", { class: "why" }, data.sentence)),
  );
  const parts = [
    first ? section("first", "The first difference", story(data, first)) : null,
    section("runs", "The runs", ...data.runs.map((one) => run(one))),
    section("made", "What is different about them", table(["", "A", "B"], data.made, "No difference is known: versions, arguments and digests are the same, or were not recorded."),
      data.same.length ? el("details", {}, el("summary", {}, `The same in both: ${counted(data.same.length, "line")}`), table(["", "Both"], data.same)) : null),
    others.length || data.more
      ? section("others", "Further differences", el("p", { class: "quiet" }, "What follows the first difference mostly comes of it."),
          ...others.map((one) => el("details", {}, el("summary", {}, `${one.story}: step ${one.step}`), story(data, one))),
          data.more ? el("p", { class: "quiet" }, `And ${counted(data.more, "more")}.`) : null)
      : null,
    data.agreed.length
      ? section("agreed", "Told alike", el("details", {}, el("summary", {}, counted(data.agreed.length, "part")), table(["What", "Steps"], data.agreed.map(([name, steps]) => [name, String(steps)]))))
      : null,
  ];
  page.append(head, ...parts.filter((part) => part !== null), el("footer", {}, `Made by Hotplug Harness ${data.harness}. This file is whole: it fetches nothing. The links lead to the reports of the runs, where those still are.`));
}

function run(one: ComparisonDocument["runs"][number]): HTMLElement {
  const gone = [...one.missing.map((why) => `Not whole: ${why}.`), one.unshown.length ? `Its guest cannot show: ${one.unshown.join(", ")}.` : ""].filter(Boolean);
  return el(
    "article",
    { class: `card ${one.verdict}` },
    el("h3", {}, `${one.name}: `, reportLink(one.link, 0, one.run), ` on ${one.guest} `, el("span", { class: `chip ${one.verdict}` }, `${MARKS[one.verdict] ?? "?"} ${one.verdict}`),
      one.worth ? el("span", { class: "worth" }, one.worth) : null),
    el("p", {}, one.sentence),
    ...gone.map((why) => el("p", { class: "quiet" }, why)),
  );
}

function story(data: ComparisonDocument, one: ComparisonDocument["differences"][number]): HTMLElement {
  let marked = false;
  const rows = one.rows.map(([kind, here, there]) => {
    const first = kind !== "same" && !marked;
    marked ||= first;
    return el("tr", { class: kind },
      el("th", { scope: "row" }, kind === "same" ? "=" : el("span", { class: "chip bad" }, first ? "first difference" : "≠")),
      cell(here, data.runs[0]?.link ?? ""), cell(there, data.runs[1]?.link ?? ""));
  });
  const heads = ["", ...data.runs.map((each) => `${each.name}: ${each.run} on ${each.guest}`)];
  const skipped = (count: number, where: string): HTMLElement | null => (count ? el("p", { class: "quiet" }, `${counted(count, "step")} ${where}.`) : null);
  return el("div", {},
    el("h3", {}, one.story),
    skipped(one.before, "before these are the same"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Steps of ${one.story}` },
      el("table", { class: "aligned" }, el("thead", {}, el("tr", {}, ...heads.map((head) => head ? el("th", { scope: "col" }, head) : el("td", {})))), el("tbody", {}, ...rows))),
    skipped(one.after, "after these are not shown"));
}

function cell(step: Cell, link: string): HTMLElement {
  if (step === null) return el("td", { class: "quiet" }, "nothing");
  const [place, words, record] = step;
  return el("td", {}, el("span", { class: "quiet" }, `${place}. `), words, " ", record ? reportLink(link, record, `record ${record}`) : null);
}

function table(heads: readonly string[], rows: readonly (readonly string[])[], none = ""): HTMLElement {
  if (rows.length === 0) return el("p", { class: "quiet" }, none);
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": heads.filter(Boolean).join(" and ") },
    el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => head ? el("th", { scope: "col" }, head) : el("td", {})))),
      el("tbody", {}, ...rows.map(([name = "", ...values]) => el("tr", {}, el("th", { scope: "row" }, name), ...values.map((value) => el("td", {}, value || "–")))))));
}
