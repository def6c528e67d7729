// SPDX-License-Identifier: MIT
/** The colours of the picture, from the page's style, so that both themes and print have one source. */

const NAMES = [
  "ink", "soft", "line", "paper", "lane", "accent", "start", "complete", "failure", "arrival", "call", "stage",
  "operation", "add", "bad", "gap", "on-mark",
] as const;

export type Theme = Record<(typeof NAMES)[number], string>;

export function theme(of: Element): Theme {
  const style = getComputedStyle(of);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Theme;
}

/** Return the colour of a span's look. */
export function colour(colours: Theme, look: string): string {
  return look in colours ? colours[look as keyof Theme] : colours.soft;
}
