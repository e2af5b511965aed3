/**
 * What a table's stored rows are, beyond its columns, kept as a property of the table (`millrace.shape`, JSON): how it follows its
 * inputs, whose events it takes, and which row of a key it keeps. Rows that were stored by another shape cannot be told from those
 * that the new one would have given, so a change of it is refused.
 */
import type { AppendTable, Table } from "../define/project.ts";
import type { Snapshot } from "../lake/delta-table.ts";

export const SHAPE = "millrace.shape";

type Shape = Partial<Pick<AppendTable, "stream" | "key" | "latest" | "tombstone">> & Pick<Table, "mode">;

export interface ShapeDifference {
  readonly path: string;
  readonly stored: string;
  readonly wanted: string;
  readonly message: string;
}

export function shapeText(table: Table): string {
  if (table.mode === "refresh") return JSON.stringify({ mode: table.mode } satisfies Shape);
  const { mode, stream, key, latest, tombstone } = table;
  return JSON.stringify({ mode, stream, key, latest, tombstone });
}

/** What stands in the way of a definition; empty when its rows can follow those that are stored. */
export function shapeDifferences(snapshot: Snapshot, table: Table): ShapeDifference[] {
  const stored = storedShape(snapshot);
  if (stored === undefined || !hasHistory(snapshot)) return [];
  const wanted = JSON.parse(shapeText(table)) as Shape;
  if (stored.mode !== wanted.mode) {
    const [was, is] = [MODES[stored.mode], MODES[wanted.mode]];
    return [difference("mode", stored.mode, wanted.mode, `it ${was}, and its definition now ${is}`)];
  }
  if (stored.stream !== wanted.stream) {
    const message =
      `its rows are events of stream "${stored.stream}", and its definition now takes those of "${wanted.stream}"; put that back (a ` +
      "stream keeps its events under its name), or give the table a new name";
    return [{ path: "stream", stored: stored.stream ?? "", wanted: wanted.stream ?? "", message }];
  }
  if (stored.key === undefined) return []; // made before the shape was kept
  const parts = (["key", "latest", "tombstone"] as const).map((path) => {
    const [before, now] = [asText(stored[path]), asText(wanted[path])];
    return { path, before, now };
  });
  const [first, ...more] = parts.filter(({ before, now }) => before !== now);
  if (first === undefined) return [];
  const told = [first, ...more].map(({ path, before, now }) => `its ${path} was ${before} and is ${now} now`);
  return [difference(first.path, first.before, first.now, told.join(", "))];
}

const MODES = { append: "takes each event as it comes", refresh: "combines rows of its inputs" } as const;

function difference(path: string, stored: string, wanted: string, what: string): ShapeDifference {
  const message = `${what}; put that back, or give the table a new name: it is then built from all events there are`;
  return { path, stored, wanted, message };
}

function asText(value: string | readonly string[] | undefined): string {
  if (value === undefined || value.length === 0) return "none";
  return typeof value === "string" ? value : value.join(", ");
}

/** Of a table made before the shape was kept, its progress says as much as is needed to mix no events. */
function storedShape({ configuration, txn }: Snapshot): Shape | undefined {
  const text = configuration[SHAPE];
  if (text !== undefined) return JSON.parse(text) as Shape;
  for (const name of txn.keys()) {
    if (name.startsWith("millrace:input:")) return { mode: "refresh" };
    const stream = /^millrace:([^:]+):\d+$/.exec(name)?.[1];
    if (stream !== undefined) return { mode: "append", stream };
  }
  return undefined;
}

/** False for a table that has taken nothing yet: it can become anything. */
function hasHistory({ files, txn }: Snapshot): boolean {
  return files.length > 0 || [...txn.keys()].some((name) => name.startsWith("millrace:"));
}
