// SPDX-License-Identifier: MIT
/** Makes elements. Text goes in as text, whatever it holds; there is no way here to put markup in. */

type Child = Node | string | null | undefined | false;
type Properties = Record<string, string | number | boolean | ((event: Event) => void) | undefined>;

/** Return an element; `properties` are attributes, functions are listeners, and what is false or undefined is left out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key, value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) made.append(child);
  }
  return made;
}

/** Return an address of Microsoft's documentation as a link, and any other source as text. */
export function source(page: string): HTMLElement {
  if (!page.startsWith("https://learn.microsoft.com/")) return el("span", {}, page);
  const name = page.replace("https://learn.microsoft.com/", "");
  return el("a", { href: page, rel: "noreferrer noopener", target: "_blank" }, name);
}

/** Return a command with a button that copies it. */
export function command(text: string): HTMLElement {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy: ${text}` }, "Copy");
  button.addEventListener("click", () => {
    void copy(text).then((done) => {
      button.textContent = done ? "Copied" : "Select it";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
  });
  return el("div", { class: "command" }, el("code", { tabindex: 0 }, text), button);
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page that was opened as a file may not be allowed to.
    return false;
  }
}
