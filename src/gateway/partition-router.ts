import type { Stream } from "../define/project.ts";
import type { KeyPlan, ObjectPlan } from "./quick-plan.ts";
import { NUMBER } from "./quick-plan.ts";
import { seenInLastScan } from "./quick-scanner.ts";

/** Chooses the partition of an event. */
export interface Router {
  /** From the event's value. */
  ofValue(event: unknown): number;
  /** From the bytes of the event that the quick scanner saw last, by its plan; -1 when the value is needed. */
  ofQuick(plan: ObjectPlan, body: Buffer): number;
}

/** The partition of a key: the same for the same key, for ever. */
export type PartitionOf = (key: string, partitions: number) => number;

/**
 * Events of one key go to one partition; where the key is absent or null the id decides, and where there is none either
 * `otherwise` says: the partitions take turns unless it is given. Undefined when there is nothing to choose.
 */
export function partitionRouter(
  stream: Stream,
  partitions: number,
  partitionOf: PartitionOf,
  otherwise: () => number = turns(partitions),
): Router | undefined {
  if (partitions === 1) return undefined;
  const decisive = stream.key ?? (stream.id.length === 1 ? stream.id[0] : undefined);
  return {
    ofValue(event) {
      const key = keyOf(stream, event as Record<string, unknown>);
      return key === undefined ? otherwise() : partitionOf(key, partitions);
    },
    ofQuick({ keys }, body) {
      if (decisive === undefined) return stream.id.length === 0 ? otherwise() : -1;
      const key = keys.find(({ name }) => name === decisive);
      const written = key !== undefined && seenInLastScan(key) ? writtenKey(key, body) : undefined;
      return written === undefined ? -1 : partitionOf(written, partitions);
    },
  };
}

function turns(partitions: number): () => number {
  let last = 0;
  return () => {
    last = (last + 1) % partitions;
    return last;
  };
}

/** What decides an event's partition, as text; undefined when nothing in it does. */
export function keyOf({ key, id }: Pick<Stream, "key" | "id">, event: Record<string, unknown>): string | undefined {
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

/** A key's value as `text` would have it, where that can be read off its bytes: strings have no escapes here. */
function writtenKey({ value, valueStart, valueEnd }: KeyPlan, body: Buffer): string | undefined {
  if (body[valueStart] === QUOTE) return body.toString("utf8", valueStart + 1, valueEnd - 1);
  if (value.kind !== NUMBER || !value.integer) return undefined;
  const written = body.toString("latin1", valueStart, valueEnd);
  return written === "null" || written === "-0" ? undefined : written;
}

const QUOTE = 0x22;
