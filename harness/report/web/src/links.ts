// SPDX-License-Identifier: MIT
/** Links from a page about several runs to the report of one of them. */

import { el } from "./dom";

/** Return a link to a report, or to one of its records; text alone if `link` does not lead to a file beside the page. */
export function reportLink(link: string, record: number, text: string): HTMLElement {
  if (!/^\.{1,2}\//.test(link)) return el("span", {}, text);
  return el("a", { href: record ? `${link}#r=${record}` : link }, text);
}
