// SPDX-License-Identifier: MIT
/** Draws the picture on a canvas. It only reads: what is shown is in the view, where things stand in the layout. */

import type { ScaleLinear } from "d3-scale";
import { at, lowerBound, type GapRow, type Records, type Span } from "./document";
import { PAD, POINTS, ROW, spansBetween, type LaneLayout } from "./layout";
import { colour, type Theme } from "./theme";

/** Pixels that the tag of a record takes. */
const TAG = 28;

export interface Arrow {
  before: number;
  after: number;
  /** Whether it belongs to the selected record. */
  strong: boolean;
}

export interface Scene {
  lanes: readonly LaneLayout[];
  records: Records;
  gaps: readonly GapRow[];
  arrows: readonly Arrow[];
  /** Names of the records that findings name, by record number. */
  named: ReadonlyMap<number, string>;
  selected: number;
  /** Where each span's ends are, by record number. */
  ends: ReadonlyMap<number, Span>;
  shapes: readonly string[];
}

/** Draw a scene, `width` by `height` pixels of the page. */
export function draw(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  scale: ScaleLinear<number, number>,
  width: number,
  height: number,
  colours: Theme,
): void {
  canvas.clearRect(0, 0, width, height);
  canvas.font = "11px system-ui, sans-serif";
  canvas.textBaseline = "middle";
  const [from = 0, to = 1] = scale.domain();
  scene.lanes.forEach((lane, index) => {
    if (index % 2 === 1) {
      canvas.fillStyle = colours.lane;
      canvas.fillRect(0, lane.top, width, lane.height);
    }
  });
  canvas.strokeStyle = colours.line;
  canvas.lineWidth = 1;
  canvas.beginPath();
  for (const tick of scale.ticks(Math.max(2, width / 110))) line(canvas, scale(tick), 0, scale(tick), height);
  canvas.stroke();
  if (from < 0 && to > 0) {
    canvas.strokeStyle = colours.soft;
    canvas.setLineDash([3, 3]);
    canvas.beginPath();
    line(canvas, scale(0), 0, scale(0), height);
    canvas.stroke();
    canvas.setLineDash([]);
  }
  for (const gap of scene.gaps) hatch(canvas, scale, gap, width, height, colours);
  for (const lane of scene.lanes) {
    spans(canvas, lane, scale, from, to, width, colours, scene.named);
    points(canvas, scene, lane, scale, from, to, colours);
  }
  for (const arrow of scene.arrows) arrowBetween(canvas, scene, scale, arrow, width, colours);
  labels(canvas, scene, scale, width, colours);
}

/** Return where a record stands in the picture, null if it is in none of the lanes. */
export function placeOf(scene: Scene, number: number): { time: number; y: number } | null {
  const row = scene.records.row(number);
  const lane = row < 0 ? undefined : scene.lanes[at(scene.records.lane, row)];
  if (lane === undefined) return null;
  const span = scene.ends.get(number);
  const y = span ? lane.top + PAD + span.row * ROW + ROW / 2 - 1 : lane.top + lane.height - PAD - POINTS / 2;
  return { time: at(scene.records.time, row), y };
}

function line(canvas: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  canvas.moveTo(Math.round(x1) + 0.5, y1);
  canvas.lineTo(Math.round(x2) + 0.5, y2);
}

function hatch(
  canvas: CanvasRenderingContext2D,
  scale: ScaleLinear<number, number>,
  gap: GapRow,
  width: number,
  height: number,
  colours: Theme,
): void {
  const begin = Math.max(-4, scale(gap[0]) - 3);
  const end = Math.min(width + 4, scale(gap[1]) + 3);
  if (end < 0 || begin > width) return;
  canvas.save();
  canvas.beginPath();
  canvas.rect(begin, 0, end - begin, height);
  canvas.clip();
  canvas.globalAlpha = 0.55;
  canvas.strokeStyle = colours.gap;
  canvas.lineWidth = 1.5;
  canvas.beginPath();
  const first = Math.floor((begin - height) / 7) * 7;
  for (let x = first; x < end; x += 7) {
    canvas.moveTo(x, height);
    canvas.lineTo(x + height, 0);
  }
  canvas.stroke();
  canvas.restore();
}

function spans(
  canvas: CanvasRenderingContext2D,
  lane: LaneLayout,
  scale: ScaleLinear<number, number>,
  from: number,
  to: number,
  width: number,
  colours: Theme,
  named: ReadonlyMap<number, string>,
): void {
  const [first, last] = spansBetween(lane, from, to);
  const painted: number[] = [];
  const taken: number[] = [];
  const waiting: ({ label: string; from: number; x: number; free: number } | undefined)[] = [];
  const beside = (row: number, until: number): void => {
    const label = waiting[row];
    waiting[row] = undefined;
    if (label === undefined) return;
    const needed = canvas.measureText(label.label).width + 8;
    const right = until - label.x >= Math.max(24, needed);
    // At the edge of the picture, or close to the next bar, there may be room on the left, or for an operation's number.
    const left = !right && label.from - label.free >= needed;
    const number = /^\d+\./.exec(label.label)?.[0] ?? "";
    if (!right && !left && (!number || until - label.x < 24)) return;
    if (!left) taken[row] = label.x + (right ? needed : 24);
    canvas.fillStyle = colours.ink;
    canvas.fillText(right || left ? label.label : number, left ? label.from - needed + 4 : label.x + 4, lane.top + PAD + row * ROW + (ROW - 3) / 2 + 0.5);
  };
  for (let place = first; place < last; place++) {
    const span = at(lane.spans, place);
    if (span.end < from) continue;
    const x = Math.max(-2, scale(span.begin));
    const end = Math.min(width + 2, scale(span.end));
    // Where many lie on one pixel, the first of them is drawn.
    if (end < (painted[span.row] ?? -Infinity) && end - x < 1) continue;
    const length = Math.max(2, end - x);
    painted[span.row] = x + length;
    beside(span.row, x);
    const free = taken[span.row] ?? 0;
    taken[span.row] = x + length;
    const y = lane.top + PAD + span.row * ROW;
    canvas.fillStyle = colour(colours, span.look);
    canvas.fillRect(x, y, length, ROW - 3);
    if (span.look === "bad" || span.look === "failure") cross(canvas, x, y, length, colours);
    const inside = length > 26 && canvas.measureText(span.label).width + 8 <= length;
    if (!inside && length < 60) {
      // A record's tag stands to the left of its bar.
      const tag = named.has(span.first) || named.has(span.last) ? TAG : 0;
      waiting[span.row] = { label: span.label, from: x - tag, x: x + length, free };
    } else {
      canvas.save();
      canvas.beginPath();
      canvas.rect(x, y, length - 3, ROW);
      canvas.clip();
      canvas.fillStyle = colours["on-mark"];
      canvas.fillText(span.label, x + 4, y + (ROW - 3) / 2 + 0.5);
      canvas.restore();
    }
  }
  waiting.forEach((_, row) => beside(row, width));
}

/** What went wrong has a thick edge besides its colour. */
function cross(canvas: CanvasRenderingContext2D, x: number, y: number, length: number, colours: Theme): void {
  canvas.strokeStyle = colours.ink;
  canvas.lineWidth = 2;
  canvas.strokeRect(x, y + 1, length, ROW - 5);
  canvas.lineWidth = 1;
}

function points(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  lane: LaneLayout,
  scale: ScaleLinear<number, number>,
  from: number,
  to: number,
  colours: Theme,
): void {
  const y = lane.top + lane.height - PAD - POINTS / 2;
  let painted = -Infinity;
  canvas.fillStyle = colours.ink;
  for (let place = lowerBound(lane.times, from); place < lane.times.length; place++) {
    const time = at(lane.times, place);
    if (time > to) break;
    const x = scale(time);
    if (x < painted + 1.5) continue;
    painted = x;
    shape(canvas, scene.shapes[at(scene.records.kind, at(lane.order, place))] ?? "tick", x, y);
  }
}

function shape(canvas: CanvasRenderingContext2D, name: string, x: number, y: number): void {
  canvas.beginPath();
  if (name === "diamond") {
    canvas.moveTo(x, y - 5);
    canvas.lineTo(x + 5, y);
    canvas.lineTo(x, y + 5);
    canvas.lineTo(x - 5, y);
  } else if (name === "circle") {
    canvas.arc(x, y, 4, 0, 2 * Math.PI);
  } else if (name === "triangle") {
    canvas.moveTo(x, y - 4.5);
    canvas.lineTo(x + 4.5, y + 4);
    canvas.lineTo(x - 4.5, y + 4);
  } else {
    canvas.rect(x - 0.75, y - 4, 1.5, 8);
  }
  canvas.fill();
}

function labels(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  scale: ScaleLinear<number, number>,
  width: number,
  colours: Theme,
): void {
  let taken: [number, number][] = [];
  for (const [number, name] of scene.named) {
    const place = placeOf(scene, number);
    if (place === null) continue;
    const x = scale(place.time);
    if (x < -20 || x > width + 20) continue;
    // To the left of its record, so that what begins there can be read; further left where another name stands.
    const half = canvas.measureText(name).width / 2 + 4;
    const shift = taken.filter(([other, y]) => Math.abs(other - x) < half * 2 && Math.abs(y - place.y) < 4).length;
    taken = [...taken, [x, place.y]];
    const middle = x - half - 2 - shift * (half * 2 + 2);
    canvas.fillStyle = colours.bad;
    canvas.strokeStyle = colours.paper;
    canvas.lineWidth = 2;
    canvas.beginPath();
    canvas.roundRect(middle - half, place.y - 8, half * 2, 16, 4);
    canvas.fill();
    canvas.stroke();
    canvas.fillStyle = colours["on-mark"];
    canvas.textAlign = "center";
    canvas.fillText(name, middle, place.y + 0.5);
    canvas.textAlign = "start";
  }
  const place = scene.selected ? placeOf(scene, scene.selected) : null;
  if (place !== null) {
    const x = scale(place.time);
    canvas.strokeStyle = colours.accent;
    canvas.lineWidth = 2.5;
    canvas.beginPath();
    canvas.arc(x, place.y, 9, 0, 2 * Math.PI);
    canvas.stroke();
    canvas.lineWidth = 1;
  }
}

function arrowBetween(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  scale: ScaleLinear<number, number>,
  arrow: Arrow,
  width: number,
  colours: Theme,
): void {
  const begin = placeOf(scene, arrow.before);
  const end = placeOf(scene, arrow.after);
  if (begin === null || end === null) return;
  const [x1, x2] = [scale(begin.time), scale(end.time)];
  if (Math.max(x1, x2) < 0 || Math.min(x1, x2) > width) return;
  canvas.strokeStyle = canvas.fillStyle = arrow.strong ? colours.accent : colours.soft;
  canvas.globalAlpha = arrow.strong ? 1 : 0.6;
  canvas.lineWidth = arrow.strong ? 1.8 : 1;
  const bend = Math.max(12, Math.abs(x2 - x1) / 3);
  canvas.beginPath();
  canvas.moveTo(x1, begin.y);
  canvas.bezierCurveTo(x1 + bend, begin.y, x2 - bend, end.y, x2 - 4, end.y);
  canvas.stroke();
  canvas.beginPath();
  canvas.moveTo(x2 - 1, end.y);
  canvas.lineTo(x2 - 8, end.y - 4);
  canvas.lineTo(x2 - 8, end.y + 4);
  canvas.fill();
  canvas.globalAlpha = 1;
}
