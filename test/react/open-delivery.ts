/** Flow and delivery of alerts over real parts in a folder, for tests that let them die and begin again there. */
import { join } from "node:path";
import { pino } from "pino";
import { loadProject } from "../../src/define/load-project.ts";
import type { Project } from "../../src/define/project.ts";
import { openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import { Flow } from "../../src/flow/flow.ts";
import { selectRows } from "../../src/flow/select-rows.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import type { EventLog } from "../../src/log/event-log.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { contractDoor } from "../../src/platform/contract-door.ts";
import { type DeliveringParts, delivering, redelivery } from "../../src/platform/delivering.ts";
import type { Delivery } from "../../src/react/deliver/delivery.ts";

const DAY_MS = 86_400_000;

export interface OpenDeliveryOptions {
  readonly env?: Record<string, string>;
  readonly clock?: () => number;
  readonly partitions?: number;
  /** Changes the project that was loaded. */
  readonly project?: (loaded: Project) => Project;
  /** The log as deliveries see it. */
  readonly log?: (log: EventLog) => EventLog;
  readonly shouldDeliver?: DeliveringParts["shouldDeliver"];
}

export async function openDelivery(dir: string, options: OpenDeliveryOptions = {}) {
  const { clock = Date.now, partitions = 1, env = {} } = options;
  const engine = await openDuckdbEngine({
    memoryBytes: 1024 ** 3,
    threads: 2,
    tempDir: join(dir, "tmp"),
    allowedDirs: [dir],
  });
  const loaded = await loadProject(join(import.meta.dirname, "projects/ops"), engine.inspector);
  const project = options.project?.(loaded) ?? loaded;
  const log = await openEmbeddedLog({ dir: join(dir, "log"), segmentBytes: 1 << 20, retentionMs: 7 * DAY_MS, clock });
  let delivery: Delivery | undefined;
  const flow = await Flow.open({
    ...{
      project,
      log,
      engine,
      store: await openFsStore(join(dir, "lake")),
      dataDir: dir,
      clock,
      partitions,
    },
    ...{ flushIntervalMs: 3_600_000, flushBytes: 64 << 20, maxEventBytes: 1 << 20, refreshDebounceMs: 3_600_000 },
    ...{ retentionMs: 7 * DAY_MS, horizonMs: 7 * DAY_MS, logger: pino({ level: "silent" }) },
    redeliver: redelivery(() => delivery),
  });
  const limits = { maxEventBytes: 1 << 20, maxNesting: 64 };
  const admit = contractDoor({ streams: project.streams, log, partitionOf, limits });
  const reported: unknown[] = [];
  const made = await delivering({
    ...{ project, flow, admit, env: { OPS_URL: "http://127.0.0.1:1/", OPS_SECRET: "sixteen letters!", ...env }, clock },
    log: options.log?.(log) ?? log,
    report: (error) => reported.push(error),
    ...(options.shouldDeliver && { shouldDeliver: options.shouldDeliver }),
  });
  delivery = made;

  const rows = async (sql: string, ...names: string[]): Promise<unknown[][]> => {
    const { inputs, release } = await flow.resolve(names.map((name) => ({ name })));
    try {
      return (await selectRows(engine, { sql, inputs })).map((row) => Object.values(row));
    } finally {
      release();
    }
  };
  let open = true;
  const end = async (drain: boolean) => {
    if (!open) return;
    open = false;
    if (drain) await made.close();
    await flow.close({ drain });
    await log.close();
    // It begins nothing more; what it still wants to write has no log any more, and may wait for it for ever.
    if (!drain) void made.close().catch(() => undefined);
    await engine.close();
  };
  return {
    ...{ flow, log, project, reported, rows, delivery: made },
    admit,
    /** Makes these keys all that fires of the kind `test`. */
    fire: (keys: readonly string[]) =>
      flow.alerts.settle(
        "test",
        "trouble",
        keys.map((key) => ({
          kind: "test",
          name: "trouble",
          severity: "critical",
          key,
          summary: `trouble with ${key}`,
          details: { key },
        })),
      ),
    /** Resolves once so many deliveries have the status. */
    async until(status: string, count: number): Promise<void> {
      for (let tries = 0; tries < 500; tries++) {
        const [[found] = []] = await rows(
          `select count(*) as n from system.deliveries where status = '${status}'`,
          "system.deliveries",
        );
        if (Number(found) >= count) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new Error(
        `never ${count} ${status}: ${JSON.stringify(await rows("select id, status, last_message from system.deliveries", "system.deliveries"))}`,
      );
    },
    /** Ends without recording or storing anything more. */
    crash: () => end(false),
    close: () => end(true),
    [Symbol.asyncDispose]: () => end(true),
  };
}
