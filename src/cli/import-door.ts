import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../errors.ts";
import { AnsweredError, type HttpClient } from "./http-client.ts";

export interface Rejection {
  /** Row of the file, the first is 1. */
  readonly row: number;
  readonly code: string;
  readonly message: string;
}

export interface BatchOutcome {
  readonly accepted: number;
  readonly rejected: number;
  /** The platform lists the first of them. */
  readonly listed: readonly Rejection[];
}

interface DoorAnswer {
  readonly accepted: number;
  readonly rejected: readonly { index: number; code: string; message: string }[];
  readonly rejectedMore?: number;
}

/** How long a platform that is overloaded or restarting is waited for before the import gives up. */
const PATIENCE_MS = 120_000;
const PAUSE_MS = 1_000;

/**
 * Every batch carries where it came from, `import:<digest>#<its last row>`, as its source, and the platform stores that with each
 * event and each dead letter. So what has arrived of a file can be asked for, and an import goes on where it ended.
 */
export class ImportDoor {
  readonly #client: HttpClient;
  readonly #stream: string;
  readonly #digest: string;

  constructor(client: HttpClient, stream: string, digest: string) {
    this.#client = client;
    this.#stream = stream;
    this.#digest = digest;
  }

  /**
   * The row after which to go on; 0 for a file not yet seen. A last batch of which only a part arrived (the platform died
   * during it) is sent again: its events have the same ids.
   */
  async arrived(): Promise<{ row: number; accepted: number; rejected: number }> {
    const like = `import:${this.#digest}#%`;
    const stream = `bronze."${this.#stream.replaceAll('"', '""')}"`;
    const { rows } = await this.#client.json<{ rows: [string, string | number, string | number][] }>("/v1/sql", {
      body: {
        sql: `with arrived as (
                select _source as source, 1 as accepted, 0 as rejected from ${stream} where _source like $1
                union all
                select source, 0, 1 from system.dead_letters where stream = $2 and stage = 'door' and source like $1)
              select source, sum(accepted)::bigint, sum(rejected)::bigint from arrived group by source
              order by cast(split_part(source, '#', 2) as bigint)`,
        params: [like, this.#stream],
      },
    });
    const batches = rows.map(([source, accepted, rejected]) => ({
      lastRow: Number(source.split("#")[1]),
      accepted: Number(accepted),
      rejected: Number(rejected),
    }));
    const last = batches.at(-1);
    const before = batches.at(-2)?.lastRow ?? 0;
    if (last !== undefined && last.accepted + last.rejected < last.lastRow - before) batches.pop();
    return {
      row: batches.at(-1)?.lastRow ?? 0,
      accepted: batches.reduce((sum, batch) => sum + batch.accepted, 0),
      rejected: batches.reduce((sum, batch) => sum + batch.rejected, 0),
    };
  }

  /** Sends rows of the file; `firstRow` is the number of the first. Waits while the platform asks it to. */
  async send(rows: readonly string[], firstRow: number): Promise<BatchOutcome> {
    const lastRow = firstRow + rows.length - 1;
    const answer = await this.#post(`${rows.join("\n")}\n`, `import:${this.#digest}#${lastRow}`);
    return {
      accepted: answer.accepted,
      rejected: answer.rejected.length + (answer.rejectedMore ?? 0),
      listed: answer.rejected.map(({ index, code, message }) => ({ row: firstRow + index, code, message })),
    };
  }

  async #post(raw: string, source: string): Promise<DoorAnswer> {
    const headers = { "content-type": "application/x-ndjson", "millrace-source": source };
    const started = performance.now();
    for (;;) {
      try {
        return await this.#client.json<DoorAnswer>(`/v1/streams/${encodeURIComponent(this.#stream)}/events`, {
          raw,
          headers,
        });
      } catch (error) {
        if (!(error instanceof AnsweredError)) throw error;
        if (error.status === 422 && Array.isArray(error.answer.rejected)) return error.answer as unknown as DoorAnswer;
        if (!NOTHING_TAKEN.has(error.code) || performance.now() - started > PATIENCE_MS) throw error;
        await sleep((error.retryAfterS ?? 1) * 1_000);
      }
    }
  }
}

/** Refusals before anything of the batch was taken: it can be sent again as it is. */
const NOTHING_TAKEN = new Set(["OVERLOADED", "SHARE_EXCEEDED", "SHUTTING_DOWN"]);

/**
 * Does the work again for as long as its failure may pass: the platform is restarting, or its disk refused a write. The work must
 * ask first what has arrived, for the last batch may have, without an answer.
 */
export async function patiently<T>(work: () => Promise<T>, onPause: (reason: string) => void): Promise<T> {
  for (let started = performance.now(); ; ) {
    const before = performance.now();
    try {
      return await work();
    } catch (error) {
      const passing =
        (error instanceof AnsweredError && (error.status === 503 || error.status === 429)) ||
        (error instanceof MillraceError && error.code === "PLATFORM_UNREACHABLE");
      if (!passing) throw error;
      // Work that went well for a while begins a new count.
      if (performance.now() - before > PATIENCE_MS) started = performance.now();
      if (performance.now() - started > PATIENCE_MS) throw error;
      onPause(error.message);
      await sleep(PAUSE_MS);
    }
  }
}
