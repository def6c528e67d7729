// SPDX-License-Identifier: MIT
/** Times and sizes as people read them. */

const UNITS: readonly [number, string][] = [
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
  [1, "ns"],
];

/** Return what writes the ticks of an axis: all in one unit, with as many decimals as tell two ticks apart. */
export function tickFormat(step: number): (nanoseconds: number) => string {
  const [length, unit] = UNITS.find(([length]) => step * 5 >= length) ?? [1, "ns"];
  const decimals = Math.max(0, Math.min(9, Math.ceil(-Math.log10(step / length) - 1e-9)));
  return (nanoseconds) => `${signed(nanoseconds / length, decimals)} ${unit}`;
}

/** Return a time from the zero of the axis in milliseconds. */
export function milliseconds(nanoseconds: number): string {
  return signed(nanoseconds / 1e6, 3);
}

/** Return a length of time in the unit that suits it. */
export function duration(nanoseconds: number): string {
  const [length, unit] = UNITS.find(([length]) => nanoseconds >= length) ?? [1, "ns"];
  const value = nanoseconds / length;
  return `${value.toFixed(length === 1 ? 0 : value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${unit}`;
}

/** Return a size in bytes. */
export function bytes(count: number): string {
  if (count < 1024) return `${count} bytes`;
  return count < 1 << 20 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / (1 << 20)).toFixed(1)} MiB`;
}

/** Return a count with the noun in its number; "more" has none. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 || noun === "more" ? "" : "s"}`;
}

function signed(value: number, decimals: number): string {
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}
