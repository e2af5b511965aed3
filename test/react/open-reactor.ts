import { MillraceError } from "../../src/errors.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { FileCheckpoints } from "../../src/react/checkpoint-file.ts";
import type { OperatorPlan } from "../../src/react/operator.ts";
import { Reactor } from "../../src/react/reactor.ts";
import type { ReactLetter, ReactorOptions } from "../../src/react/reactor-options.ts";
import type { CountingPlan } from "./counting/kinds.ts";
import type { MemoryDisk } from "./memory-disk.ts";
import type { MemoryLog } from "./memory-log.ts";

/** What of the platform outlives its processes. */
export interface World {
  readonly log: MemoryLog;
  readonly disk: MemoryDisk;
  /** By id, as the table of dead letters keeps them. */
  readonly letters: Map<string, ReactLetter>;
  /** Codes of what was reported. */
  readonly reports: string[];
}

/** The plan of an operator of the tests (`counting/kinds.ts`). */
export function counting(plan: CountingPlan = {}, rest: Partial<OperatorPlan> = {}): OperatorPlan {
  const base = { kind: "function", name: "count", stream: "events", lane: "count", from: "beginning" } as const;
  return { ...base, stateHash: "1", plan, ...rest };
}

/** A reactor over a world. The stream `results` refuses events whose `count` is 13, and spreads the others by key. */
export async function openReactor(
  { log, disk, letters, reports }: World,
  plans: readonly OperatorPlan[],
  rest: Partial<ReactorOptions> = {},
): Promise<Reactor> {
  const names = ["events", "results", "others"];
  for (const name of names) await log.open(name);
  const id = { name: "id", type: { kind: "string" }, nullable: false } as const;
  const options: ReactorOptions = {
    project: { dir: new URL("counting", import.meta.url).pathname, modules: ["definitions.ts"] },
    kinds: new URL("counting/kinds.ts", import.meta.url).href,
    streams: new Map(names.map((name) => [name, { name, id: ["id"], columns: [id] }])),
    ...{ plans, log, checkpoints: new FileCheckpoints(disk, "/react"), checkpointMs: 3_600_000 },
    admit(stream, payload) {
      const event = JSON.parse(Buffer.from(payload).toString()) as { key: string; count: number };
      if (!names.includes(stream)) return { kind: "refused", code: "STREAM_UNKNOWN", message: `no ${stream}` };
      if (event.count === 13) return { kind: "refused", code: "EVENT_INVALID", message: "it is 13" };
      const partition = partitionOf(event.key, log.partitions(stream));
      return { kind: "accepted", partition, line: Buffer.concat([payload, Buffer.from("\n")]) };
    },
    async deadLetters(told) {
      for (const letter of told) letters.set(letter.id, letter);
    },
    report: (error) => reports.push(error instanceof MillraceError ? error.code : String(error)),
  };
  // Getters stay what they are.
  return Reactor.open(Object.defineProperties(options, Object.getOwnPropertyDescriptors(rest)));
}
