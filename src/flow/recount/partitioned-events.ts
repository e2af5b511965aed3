/**
 * The number of events a partitioned table has rows of. One event may have rows of several partition values there, and so in several
 * files, which cannot be told from the files' counts. It is counted in slices of offsets, and a slice is counted again only when other
 * files have come to overlap it.
 */
import type { SqlEngine } from "../../engine/sql-engine.ts";
import type { LakeTables } from "../lake-tables.ts";
import { selectRows } from "../select-rows.ts";
import { freshFiles } from "./file-counts.ts";
import type { Part } from "./locate.ts";

/** Offsets of which the engine holds the different ones in memory at once. */
const SLICE = 1 << 20;

export class PartitionedEvents {
  readonly #o: { readonly engine: SqlEngine; readonly lake: LakeTables };
  /** By table, partition and slice: of which files, and the count. */
  readonly #slices = new Map<string, { files: string; events: number }>();

  constructor(parts: { readonly engine: SqlEngine; readonly lake: LakeTables }) {
    this.#o = parts;
  }

  forget(): void {
    this.#slices.clear();
  }

  async count({ table, partition, files }: Part, to: number, signal: AbortSignal, pass: number): Promise<number> {
    let total = 0;
    for (let from = 0; from <= to; from += SLICE) {
      const end = from + SLICE - 1;
      const within = files.filter(({ min, max }) => min <= end && max >= from).map(({ file }) => file);
      const key = `${table.name}/${partition}/${from}`;
      const names = within
        .map((file) => file.path)
        .sort()
        .join("\n");
      const known = this.#slices.get(key);
      if (known?.files === names) {
        total += known.events;
        continue;
      }
      const columns = table.columns.filter(({ name }) => name === "_partition" || name === "_offset");
      const [row] = await selectRows(
        this.#o.engine,
        {
          sql: `select count(distinct _offset) as events from stored
            where _partition = ${partition} and _offset between ${from} and ${end}`,
          inputs: new Map([["stored", freshFiles(this.#o.lake, table, within, columns, pass)]]),
        },
        { signal },
      );
      const events = Number(row?.["events"] ?? 0);
      this.#slices.set(key, { files: names, events });
      total += events;
    }
    return total;
  }
}
