// SPDX-License-Identifier: MIT
/** The texts of records: packed in pieces of a thousand, unpacked when one of them is looked at. */

import { unpack as inflate } from "./columns";
import { at } from "./document";

/** Rows of one piece, as harness/report/page/record_columns.py packs them. */
export const PIECE = 1000;

/** What is shown of one record: its sentence, and its line in the history. */
export type RecordText = [sentence: string, raw: string];

/** Return what `packed`, base64 of gzip of JSON, holds. */
export async function unpack(packed: string): Promise<RecordText[]> {
  return JSON.parse(new TextDecoder().decode(await inflate(packed))) as RecordText[];
}

/** The pieces of a page; those that were unpacked last are kept. */
export class Pieces {
  private readonly unpacked = new Map<number, Promise<RecordText[]>>();

  /** `packed` returns a piece by its number, "" while the page has not come so far; `kept` is how many stay unpacked. */
  constructor(
    private readonly packed: (piece: number) => Promise<string>,
    private readonly kept = 200,
  ) {}

  /** Return the texts of a row. */
  async text(row: number): Promise<RecordText> {
    const piece = Math.floor(row / PIECE);
    let texts = this.unpacked.get(piece);
    if (texts === undefined) {
      texts = this.packed(piece).then(unpack);
      this.unpacked.set(piece, texts);
      const oldest = this.unpacked.keys().next();
      if (this.unpacked.size > this.kept && !oldest.done) this.unpacked.delete(oldest.value);
    }
    return at(await texts, row % PIECE);
  }
}

/** Return what gives the pieces in the page; those that it has not read yet are awaited. */
export function piecesOfPage(page: Document): (piece: number) => Promise<string> {
  const complete = new Promise<void>((resolve) => {
    if (page.readyState === "loading") page.addEventListener("DOMContentLoaded", () => resolve(), { once: true });
    else resolve();
  });
  return async (piece) => {
    await complete;
    return page.getElementsByClassName("piece").item(piece)?.textContent ?? "";
  };
}
