// SPDX-License-Identifier: MIT
/** The timeline: the picture with its axis, the strip above it that shows the whole run, and how one moves in it. */

import { axisTop } from "d3-axis";
import { brushX, type D3BrushEvent } from "d3-brush";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { zoom, zoomIdentity, type D3ZoomEvent } from "d3-zoom";
import { at, type Finding, type Records, type RunDocument, type Span } from "./document";
import { el } from "./dom";
import { duration, tickFormat } from "./format";
import { layout, nearest, ROW, stacked, PAD, type LaneLayout } from "./layout";
import type { Neighbours } from "./order";
import { draw, placeOf, type Arrow, type Scene } from "./picture";
import type { Stretch } from "./stretches";
import { theme, type Theme } from "./theme";
import { within, type Store, type View } from "./view";

const STRIP = 44;
const LEAST = 200;
const MOST_ARROWS = 3000;

const SHAPES: Record<string, string> = {
  ost: "diamond",
  agreement: "diamond",
  expect: "diamond",
  count: "circle",
  guest: "circle",
  boot: "triangle",
  fault: "triangle",
  console: "triangle",
  end: "triangle",
  channel: "circle",
};

export class Timeline {
  readonly element: HTMLElement;
  private readonly canvas = el("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": "Timeline of the run",
    "aria-describedby": "timeline-keys",
  });
  private readonly axis = select(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
  private readonly strip = select(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
  private readonly stripCanvas = el("canvas", { "aria-hidden": "true" });
  private readonly names = el("div", { class: "lane-names", "aria-hidden": "true" });
  private readonly tip = el("div", { class: "tip", hidden: true });
  private readonly spans: Span[];
  private readonly ends = new Map<number, Span>();
  private readonly zoom = zoom<HTMLCanvasElement, unknown>();
  private readonly brush = brushX<unknown>();
  private lanes: LaneLayout[] = [];
  private shown: readonly number[] = [];
  private width = 0;
  private height = 0;
  private colours: Theme;
  private silent = false;
  private frames = 0;

  constructor(
    private readonly data: RunDocument,
    spans: Span[],
    private readonly records: Records,
    private readonly store: Store,
    private readonly whole: Stretch,
    private readonly neighbours: Neighbours,
    private readonly sentence: (row: number) => Promise<string>,
  ) {
    this.spans = stacked(spans);
    for (const span of this.spans) {
      if (span.first) this.ends.set(span.first, span);
      if (span.last) this.ends.set(span.last, span);
    }
    this.axis.attr("class", "axis").attr("aria-hidden", "true");
    this.strip.attr("class", "strip").attr("aria-hidden", "true");
    this.element = el(
      "div",
      { class: "timeline" },
      el("div", { class: "strip-box" }, this.stripCanvas, this.strip.node()),
      el("div", { class: "lanes" }, this.names, el("div", { class: "plot" }, this.axis.node(), this.canvas, this.tip)),
    );
    this.colours = theme(document.documentElement);
    this.listen();
  }

  /** Take the rows that pass the filters. */
  show(rows: readonly number[]): void {
    this.shown = rows;
    this.lanes = layout(this.data.lanes.length, this.records, this.spans, rows);
    this.names.replaceChildren(
      ...this.lanes.map((lane, index) => {
        const title = at(this.data.lanes, index).title;
        const name = el("div", { class: "lane-name" }, title);
        name.style.height = `${lane.height}px`;
        return name;
      }),
    );
    this.resize();
  }

  /** Redraw for another size or theme. */
  resize(): void {
    this.colours = theme(document.documentElement);
    const plot = this.canvas.parentElement;
    this.width = Math.max(120, plot?.clientWidth ?? 600);
    this.height = this.lanes.reduce((sum, lane) => sum + lane.height, 0);
    sized(this.canvas, this.width, this.height);
    this.axis.attr("width", this.width).attr("height", 24);
    const strip = Math.max(120, this.stripCanvas.parentElement?.clientWidth ?? 600);
    sized(this.stripCanvas, strip, STRIP);
    this.strip.attr("width", strip).attr("height", STRIP);
    this.zoom.extent([
      [0, 0],
      [this.width, this.height],
    ]);
    this.zoom.translateExtent([
      [0, 0],
      [this.width, this.height],
    ]);
    this.zoom.scaleExtent([1, Math.max(1, (this.whole.to - this.whole.from) / LEAST)]);
    this.brush.extent([
      [0, 0],
      [strip, STRIP],
    ]);
    this.strip.selectAll("g").remove();
    this.strip.append("g").attr("class", "brush").call(this.brush);
    this.drawStrip(strip);
    this.move();
  }

  /** Bring the picture to the view's stretch and draw it. */
  move(): void {
    const { from, to } = this.store.view;
    const k = (this.whole.to - this.whole.from) / (to - from);
    const x = -((from - this.whole.from) / (to - from)) * this.width;
    this.silent = true;
    select(this.canvas).call((canvas) => this.zoom.transform(canvas, zoomIdentity.translate(x, 0).scale(k)));
    const strip = this.stripScale();
    this.strip.select<SVGGElement>("g").call((group) => this.brush.move(group, [strip(from), strip(to)]));
    this.silent = false;
    this.draw();
  }

  private get scale(): ReturnType<typeof scaleLinear<number, number>> {
    return scaleLinear([this.store.view.from, this.store.view.to], [0, this.width]);
  }

  private stripScale(): ReturnType<typeof scaleLinear<number, number>> {
    return scaleLinear([this.whole.from, this.whole.to], [0, this.stripCanvas.clientWidth]);
  }

  private scene(view: View): Scene {
    return {
      lanes: this.lanes,
      records: this.records,
      gaps: this.data.gaps,
      arrows: this.arrows(view),
      named: namedRecords(this.data, view.rule),
      selected: view.record,
      ends: this.ends,
      shapes: this.data.kinds.map((kind) => SHAPES[kind] ?? "tick"),
    };
  }

  private arrows(view: View): Arrow[] {
    const own = view.record ? this.neighbours.of(view.record) : { before: [], after: [] };
    const strong = [
      ...own.before.map((one) => ({ before: one.record, after: view.record, strong: true })),
      ...own.after.map((one) => ({ before: view.record, after: one.record, strong: true })),
    ];
    if (!view.arrows) return strong;
    const { before, after } = this.neighbours.order;
    const seen: Arrow[] = [];
    for (let place = 0; place < before.length && seen.length < MOST_ARROWS; place++) {
      const arrow = { before: at(before, place), after: at(after, place), strong: false };
      const [a, b] = [this.records.row(arrow.before), this.records.row(arrow.after)];
      if (at(this.records.time, b) >= view.from && at(this.records.time, a) <= view.to) seen.push(arrow);
    }
    return [...seen, ...strong];
  }

  private draw(): void {
    const context = this.canvas.getContext("2d");
    if (context === null) return;
    const scale = this.scale;
    draw(context, this.scene(this.store.view), scale, this.width, this.height, this.colours);
    const ticks = Math.max(2, this.width / 110);
    const values = scale.ticks(ticks);
    const step = values.length > 1 ? at(values, 1) - at(values, 0) : this.store.view.to - this.store.view.from;
    const format = tickFormat(step);
    this.axis.call((svg) =>
      axisTop(scale.copy())
        .tickValues(values)
        .tickFormat((value) => format(Number(value)))(
        svg.selectAll<SVGGElement, null>("g.ticks").data([null]).join("g").attr("class", "ticks").attr("transform", "translate(0,23)"),
      ),
    );
    this.canvas.dataset["frames"] = String(++this.frames);
    if (this.frames === 1) performance.mark("picture");
  }

  private drawStrip(width: number): void {
    const context = this.stripCanvas.getContext("2d");
    if (context === null) return;
    const scale = scaleLinear([this.whole.from, this.whole.to], [0, width]);
    const counts = new Float64Array(Math.ceil(width / 2) + 1);
    const { time } = this.records;
    // Not by the scale: there may be a hundred thousand of them.
    const bins = width / 2 / (this.whole.to - this.whole.from);
    for (const row of this.shown) {
      const bin = Math.floor((at(time, row) - this.whole.from) * bins);
      if (bin >= 0 && bin < counts.length) counts[bin] = at(counts, bin) + 1;
    }
    const most = counts.reduce((a, b) => Math.max(a, b), 1);
    context.clearRect(0, 0, width, STRIP);
    context.fillStyle = this.colours.soft;
    counts.forEach((count, bin) => {
      const height = count && 3 + (Math.log1p(count) / Math.log1p(most)) * (STRIP - 12);
      context.fillRect(bin * 2, STRIP - height, 1.5, height);
    });
    context.fillStyle = this.colours.gap;
    for (const gap of this.data.gaps) context.fillRect(scale(gap[0]) - 1, 0, Math.max(3, scale(gap[1] - gap[0] + this.whole.from)), 4);
    context.fillStyle = this.colours.bad;
    for (const number of namedRecords(this.data, "").keys()) {
      const row = this.records.row(number);
      if (row >= 0) context.fillRect(scale(at(this.records.time, row)) - 1.5, 0, 3, STRIP);
    }
  }

  private listen(): void {
    this.zoom
      .filter((event: MouseEvent) => {
        if (event.type === "wheel") return event.ctrlKey || event.metaKey || document.activeElement === this.canvas;
        return event.button === 0;
      })
      .on("zoom", (event: D3ZoomEvent<HTMLCanvasElement, unknown>) => {
        if (this.silent) return;
        const length = (this.whole.to - this.whole.from) / event.transform.k;
        const from = this.whole.from - (event.transform.x / this.width) * length;
        this.go(from, from + length);
      });
    select(this.canvas).call(this.zoom).on("dblclick.zoom", null);
    this.brush.on("brush end", (event: D3BrushEvent<unknown>) => {
      if (this.silent) return;
      const chosen = event.selection as [number, number] | null;
      if (chosen === null) this.go(this.whole.from, this.whole.to);
      else if (chosen[1] - chosen[0] > 0) this.go(this.stripScale().invert(chosen[0]), this.stripScale().invert(chosen[1]));
    });
    this.canvas.addEventListener("click", (event) => {
      const row = this.hit(event);
      if (row >= 0) this.store.set({ record: at(this.records.number, row) });
    });
    this.canvas.addEventListener("pointermove", (event) => this.hint(event));
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Look at a stretch of time. */
  go(from: number, to: number): void {
    const [begin, end] = within(from, to, this.whole, LEAST);
    this.store.set({ from: begin, to: end });
  }

  /** Make a record visible: its time, with as much around it as is seen now. */
  reveal(number: number): void {
    const place = placeOf(this.scene(this.store.view), number);
    if (place === null) return;
    const { from, to } = this.store.view;
    const margin = (to - from) / 12;
    if (place.time < from + margin || place.time > to - margin) {
      this.go(place.time - (to - from) / 2, place.time + (to - from) / 2);
    }
  }

  private hit(event: MouseEvent): number {
    const lane = this.lanes.find((one) => event.offsetY >= one.top && event.offsetY < one.top + one.height);
    if (lane === undefined) return -1;
    const time = this.scale.invert(event.offsetX);
    const reach = this.scale.invert(event.offsetX + 9) - time;
    const depth = Math.floor((event.offsetY - lane.top - PAD) / ROW);
    if (depth < lane.rows) {
      const span = lane.spans.find((one) => one.row === depth && one.begin - reach / 3 <= time && time <= one.end + reach / 3);
      if (span) return this.records.row(span.first);
    }
    return nearest(lane, time, reach);
  }

  private hint(event: MouseEvent): void {
    const row = this.hit(event);
    this.canvas.style.cursor = row < 0 ? "grab" : "pointer";
    if (row < 0) {
      this.tip.hidden = true;
      return;
    }
    const number = at(this.records.number, row);
    const span = this.ends.get(number);
    void this.sentence(row).then((sentence) => {
      const took = span && span.last ? ` (took ${duration(span.end - span.begin)})` : "";
      this.tip.textContent = `${number}: ${sentence}${took}`;
      this.tip.hidden = false;
      const left = Math.min(event.offsetX + 12, this.width - 40);
      this.tip.style.left = `${Math.max(0, Math.min(left, this.width - this.tip.offsetWidth - 4))}px`;
      this.tip.style.top = `${event.offsetY + 40}px`;
    });
  }

  private key(event: KeyboardEvent): void {
    const { from, to } = this.store.view;
    const length = to - from;
    const middle = (from + to) / 2;
    const moves: Record<string, () => void> = {
      ArrowLeft: () => (event.shiftKey ? this.go(from - length / 5, to - length / 5) : this.step(-1)),
      ArrowRight: () => (event.shiftKey ? this.go(from + length / 5, to + length / 5) : this.step(1)),
      "+": () => this.go(middle - length / 3, middle + length / 3),
      "=": () => this.go(middle - length / 3, middle + length / 3),
      "-": () => this.go(middle - length * 0.75, middle + length * 0.75),
      "0": () => this.go(this.whole.from, this.whole.to),
      Home: () => this.step(-Infinity),
      End: () => this.step(Infinity),
      Escape: () => this.store.set({ record: 0 }),
    };
    const move = moves[event.key];
    if (move === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move();
  }

  /** Select the next or the previous of the records that are shown, in the order of time. */
  private step(by: number): void {
    const rows = [...this.shown].sort((a, b) => at(this.records.time, a) - at(this.records.time, b) || a - b);
    if (rows.length === 0) return;
    const here = rows.indexOf(this.records.row(this.store.view.record));
    const next = here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(here + by, 0), rows.length - 1);
    const number = at(this.records.number, at(rows, next));
    this.store.set({ record: number });
    this.reveal(number);
  }
}

/** Return the names of the records that findings show: all of one rule if it is given, else of each rule the first finding. */
export function namedRecords(data: RunDocument, rule: string): Map<number, string> {
  const named = new Map<number, string>();
  const first = (finding: Finding, place: number): boolean => data.findings.findIndex((one) => one.rule === finding.rule) === place;
  const told = data.findings.filter((finding, place) => (rule ? finding.rule === rule : !finding.minor && first(finding, place))).slice(0, 20);
  for (const finding of told) {
    for (const witness of finding.witnesses) {
      if (!named.has(witness.record)) named.set(witness.record, witness.name);
    }
  }
  for (const witness of data.failure?.witnesses ?? []) {
    if (!named.has(witness.record)) named.set(witness.record, "!");
  }
  return named;
}

function sized(canvas: HTMLCanvasElement, width: number, height: number): void {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
}
