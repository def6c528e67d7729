// SPDX-License-Identifier: MIT
import { Records, type RecordColumns } from "../../src/document";

/** Return records of which only some columns matter; the numbers are from 1 on unless they are given. */
export function made({ time, ...columns }: { time: number[] } & Partial<Record<Exclude<keyof RecordColumns, "time">, number[]>>): Records {
  const column = (values: number[] | undefined, otherwise: number): Int32Array => Int32Array.from(values ?? time.map(() => otherwise));
  return new Records({
    time: Float64Array.from(time),
    number: Int32Array.from(columns.number ?? time.map((_, row) => row + 1)),
    lane: column(columns.lane, 0),
    kind: column(columns.kind, 0),
    source: column(columns.source, 0),
    processor: column(columns.processor, -1),
    subject: column(columns.subject, -1),
    told: column(columns.told, 1),
  });
}
