// SPDX-License-Identifier: MIT
/** Reads the document from the page and shows it: the report of a run, of two side by side, or of many. */

import { broke, warnings } from "./broke";
import { columns, type Columns } from "./columns";
import { renamed, type RunDocument } from "./document";
import { showComparison, type ComparisonDocument } from "./comparison";
import { Detail } from "./detail";
import { el } from "./dom";
import { counted } from "./format";
import { help, legend } from "./legend";
import { Neighbours } from "./order";
import { Pieces, piecesOfPage } from "./pieces";
import * as sections from "./sections";
import { showSet, type SetDocument } from "./set";
import { acted, around, firstView, whole, type Stretch } from "./stretches";
import { RecordTable } from "./table";
import { Timeline } from "./timeline";
import { Toolbar } from "./toolbar";
import { fragment, fromFragment, passing, Store, type View } from "./view";

/** The parts of the page that are filled when the columns have been read. */
interface Shell {
  timeline: HTMLElement;
  records: HTMLElement;
}

/** Show what the document alone tells: the verdict, what broke, all that is text. What is clicked meanwhile waits. */
function show(page: HTMLElement, data: RunDocument, select: sections.Select): Shell {
  document.title = `${data.verdict.toUpperCase()}: ${data.run} on ${data.guest}`;
  const shell = { timeline: sections.section("timeline", "Timeline"), records: sections.section("records", "Records") };
  const parts = [
    broke(data, select),
    shell.timeline,
    sections.lost(data, select),
    sections.operations(data, select),
    sections.again(data),
    shell.records,
    warnings(data, select),
    sections.observations(data),
    sections.rules(data, (rule) => {
      const record = data.findings.find((one) => one.rule === rule)?.witnesses[0]?.record;
      if (record !== undefined) select(record, rule);
    }),
    sections.evidence(data),
    sections.made(data),
  ].filter((part) => part !== null);
  const links = parts.map((part) =>
    el("li", {}, el("a", { href: `#${part.id}`, click: (event) => {
      // The fragment is the view's.
      event.preventDefault();
      part.scrollIntoView();
      part.querySelector<HTMLElement>("h2")?.focus({ preventScroll: true });
    } }, part.querySelector("h2")?.textContent ?? "")),
  );
  for (const part of parts) part.querySelector("h2")?.setAttribute("tabindex", "-1");
  page.append(sections.header(data), el("nav", { class: "contents", "aria-label": "Sections" }, el("ul", {}, ...links)), ...parts,
    el("footer", {}, `Made by Hotplug Harness ${data.harness}. This file is whole: it fetches nothing.`));
  return shell;
}

/** Fill the timeline and the table; return what selects a record. */
function fill(data: RunDocument, shell: Shell, drawn: Columns): sections.Select {
  const { records, spans } = drawn;
  const neighbours = new Neighbours(data.order_reasons);
  const pieces = new Pieces(piecesOfPage(document));
  const all = whole(records, spans);
  const deciding = data.findings.filter((one) => !one.minor && one.verdict !== "holds");
  const witnesses = (deciding.some((one) => one.verdict === "violated") ? deciding.filter((one) => one.verdict === "violated") : deciding)
    .slice(0, 6)
    .flatMap((one) => one.witnesses.map((witness) => witness.record));
  const added = acted(spans, all);
  const usual: View = {
    ...firstView(deciding[0], added, records, all), record: 0, lane: -1, source: -1, processor: -1, rule: "", text: "", everything: false, arrows: false,
  };
  // A link may be of another run's report.
  const linked = (): View => {
    const view = fromFragment(location.hash, usual);
    return {
      ...view,
      lane: view.lane < data.lanes.length ? view.lane : -1,
      source: view.source < data.sources.length ? view.source : -1,
      rule: data.findings.some((one) => one.rule === view.rule) ? view.rule : "",
    };
  };
  const store = new Store(linked());
  const select: sections.Select = (record, rule = "") => {
    const finding = data.findings.find((one) => one.rule === rule && one.witnesses.some((witness) => witness.record === record));
    const stretch = finding && around(finding.witnesses.map((one) => one.record), records, all);
    store.set({ record, ...(stretch ?? {}) });
    if (!stretch) timeline.reveal(record);
    shell.timeline.scrollIntoView({ block: "nearest" });
  };
  const timeline = new Timeline(data, spans, records, store, all, neighbours, async (row) => (await pieces.text(row))[0]);
  const detail = new Detail(data, spans, records, neighbours, pieces, (record) => {
    store.set({ record });
    timeline.reveal(record);
  });
  const rulesOf = new Map<number, string>();
  for (const finding of data.findings.filter((one) => !one.minor)) {
    for (const { record } of finding.witnesses) {
      const known = rulesOf.get(record);
      if (!known?.split(", ").includes(finding.rule)) rulesOf.set(record, known ? `${known}, ${finding.rule}` : finding.rule);
    }
  }
  const table = new RecordTable(data, records, pieces, (record) => select(record), rulesOf);
  const broken = around(witnesses, records, all);
  const jump = (stretch: Stretch): (() => void) => () => timeline.go(stretch.from, stretch.to);
  const gap = data.gaps[0];
  const jumps: [string, () => void][] = [
    ["Whole run", jump(all)],
    ["Operations", jump(added)],
    ...(broken ? [[data.verdict === "violated" ? "What broke" : "What is not known", jump(broken)] satisfies [string, () => void]] : []),
    ...(gap ? [["First gap", () => timeline.go(gap[0] - 1e7, gap[1] + 1e7)] satisfies [string, () => void]] : []),
  ];
  const processors = [...new Set([...new Set(records.processor), ...new Set(records.subject)])].filter((one) => one >= 0).sort((a, b) => a - b);
  const toolbar = new Toolbar(data, store, processors.slice(0, 512), jumps);
  shell.timeline.append(toolbar.element, timeline.element, legend(data, spans), help(), detail.element);
  shell.records.append(table.element);

  let searched = 0;
  const refilter = async (): Promise<void> => {
    const { view } = store;
    const turn = ++searched;
    const ofRule = view.rule
      ? new Set(data.findings.filter((one) => one.rule === view.rule).flatMap((one) => one.witnesses.map((witness) => witness.record)))
      : null;
    let rows = passing(view.text ? { ...view, everything: true } : view, records, ofRule);
    if (view.text) {
      const words = view.text.toLowerCase();
      const found: number[] = [];
      for (const row of rows) {
        const [sentence, raw] = await pieces.text(row);
        if (turn !== searched) return;
        if (sentence.toLowerCase().includes(words) || raw.toLowerCase().includes(words)) found.push(row);
      }
      rows = found;
    }
    timeline.show(rows);
    table.show(rows);
    toolbar.show(view, `${counted(rows.length, "record")} shown`);
  };
  store.listen((view, changed) => {
    const filtered = (["lane", "source", "processor", "rule", "text", "everything"] as const).some((name) => changed.has(name));
    if (filtered) void refilter();
    else timeline.move();
    if (changed.has("record")) {
      detail.show(view.record);
      table.mark(view.record);
    }
    remember(view, usual);
  });
  addEventListener("hashchange", () => store.set(linked()));
  let resizing = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => timeline.resize());
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.resize());
  matchMedia("print").addEventListener("change", () => timeline.resize());
  addEventListener("beforeprint", () => timeline.resize());
  addEventListener("afterprint", () => timeline.resize());
  table.mark(store.view.record);
  detail.show(store.view.record);
  void refilter();
  // After the picture: few look at an order, and there are more of them than records.
  void drawn.order().then((order) => {
    neighbours.fill(order);
    if (!store.view.record && !store.view.arrows) return;
    timeline.move();
    detail.show(store.view.record);
  });
  return select;
}

let remembering = 0;

/** Keep the view in the address, when it has not changed for a moment: browsers bound how often one may. */
function remember(view: View, usual: View): void {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    const text = fragment(view, usual);
    history.replaceState(null, "", text ? `#${text}` : location.pathname);
  }, 250) as unknown as number;
}

async function start(page: HTMLElement): Promise<void> {
  const text = (id: string): string => document.getElementById(id)?.textContent ?? "";
  const read = JSON.parse(text("document")) as RunDocument | ComparisonDocument | SetDocument;
  if (read.kind === "comparison") return showComparison(page, read);
  if (read.kind === "set") return showSet(page, read);
  const data = { ...read, findings: renamed(read.findings) };
  const early: Parameters<sections.Select>[] = [];
  let select: sections.Select = (...chosen) => void early.push(chosen);
  const shell = show(page, data, (...chosen) => select(...chosen));
  select = fill(data, shell, await columns((name) => text(`${name}-columns`)));
  for (const chosen of early.slice(-1)) select(...chosen);
}

const page = document.getElementById("report");
if (page !== null) void start(page);
