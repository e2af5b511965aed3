import type { Stream } from "../define/project.ts";

/** Chooses the partition of an event from its value. */
export type Router = (event: unknown) => number;

/** The partition of a key: the same for the same key, for ever. */
export type PartitionOf = (key: string, partitions: number) => number;

/**
 * Events of one key go to one partition; where the key is absent or null the id decides, and where there is none either
 * the partitions take turns. Undefined when there is nothing to choose.
 */
export function partitionRouter(stream: Stream, partitions: number, partitionOf: PartitionOf): Router | undefined {
  if (partitions === 1) return undefined;
  let turn = 0;
  return (event) => {
    const key = keyOf(stream, event as Record<string, unknown>);
    if (key !== undefined) return partitionOf(key, partitions);
    turn = (turn + 1) % partitions;
    return turn;
  };
}

function keyOf({ key, id }: Stream, event: Record<string, unknown>): string | undefined {
  const own = key === undefined ? undefined : event[key];
  if (own !== undefined && own !== null) return text(own);
  const values = id.map((name) => event[name]).filter((value) => value !== undefined && value !== null);
  if (values.length === 0) return undefined;
  return values.length === 1 && id.length === 1
    ? text(values[0])
    : JSON.stringify(id.map((name) => event[name] ?? null));
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
