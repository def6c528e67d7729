// SPDX-License-Identifier: MIT
/** What the colours and the shapes of the picture mean, and which keys move in it. */

import type { RunDocument, Span } from "./document";
import { el } from "./dom";

const LOOKS: readonly [string, string][] = [
  ["start", "Start callback"],
  ["complete", "Complete callback"],
  ["failure", "Failure callback"],
  ["arrival", "Plug and Play"],
  ["call", "call of the driver"],
  ["operation", "operation"],
  ["add", "attempt, begin to settled"],
  ["stage", "stage"],
  ["bad", "failed or vetoed"],
];

export function legend(data: RunDocument, spans: readonly Span[]): HTMLElement {
  const looks = new Set(spans.map((span) => span.look));
  const items = LOOKS.filter(([look]) => looks.has(look)).map(([look, text]) =>
    el("span", {}, el("i", { class: `swatch ${look}`, "aria-hidden": "true" }), text),
  );
  if (data.gaps.length) items.push(el("span", {}, el("i", { class: "swatch gap", "aria-hidden": "true" }), "records known to be missing"));
  return el("div", { class: "legend" }, ...items);
}

export function help(): HTMLElement {
  return el(
    "p",
    { id: "timeline-keys", class: "quiet help" },
    "Drag to pan, Ctrl and wheel to zoom, drag in the strip above to choose a stretch. In the timeline: left and right select records, " +
      "with Shift they pan; + and \u2212 zoom, 0 shows all, Home and End go to the first and last record, Escape selects none. " +
      "A driver\u2019s records stand where the guest\u2019s counter puts them, moved so that none stands later than it was received; " +
      "places in different lanes order nothing. What is known of an order is drawn as an arrow.",
  );
}
