/**
 * Texts that change with what a page of the console shows, so that a page asks for it then and not all the time. They come from what the platform
 * keeps at hand (ends of the log, versions of tables, the ledger) and one look at the records.
 */
import { createHash } from "node:crypto";
import type { Registry } from "prom-client";
import { ALERT_STREAM } from "../define/alert-event.ts";
import { ACTION_STREAM } from "../flow/dead-letter-actions.ts";
import { DEAD_LETTER_STREAM } from "../flow/dead-letters.ts";
import { SILENCE_STREAM } from "../flow/silences.ts";
import type { EventLog } from "../log/event-log.ts";
import { runsStamp } from "../orchestrate/runs-stamp.ts";
import type { LedgerView, PlatformStatus } from "../serve/admin-route.ts";
import type { Notebooks } from "../state/notebooks.ts";
import type { State } from "../state/state.ts";
import type { Worker } from "../state/workers.ts";
import { latencies } from "./latencies.ts";

export interface StampParts {
  readonly log: EventLog;
  readonly state: Pick<State, "query">;
  readonly notebooks: Pick<Notebooks, "stamp">;
  readonly registry: Registry;
  readonly workers: () => readonly Worker[];
  readonly report: (error: unknown, what: string) => void;
}

export function stamps(parts: StampParts) {
  const { log, registry } = parts;
  let records = { runs: "", notebooks: "" };
  let failed = false;
  /** While the records cannot be read, what is shown of them stays. */
  const lookUp = async () => {
    try {
      const [runs, notebooks] = await Promise.all([runsStamp(parts.state), parts.notebooks.stamp()]);
      records = { runs, notebooks };
      failed = false;
    } catch (error) {
      if (!failed) parts.report(error, "looking what has changed in the records failed");
      failed = true;
    }
  };
  const end = (stream: string) => log.ends(stream, 0).end;
  return async (moment: {
    readonly status: PlatformStatus;
    readonly ledger: LedgerView;
  }): Promise<Record<string, string>> => {
    const { status, ledger } = moment;
    const [measured] = await Promise.all([latencies(registry), lookUp()]);
    const streams = status.streams.map(({ name, accepted, rejected }) => [`stream:${name}`, `${accepted} ${rejected}`]);
    const tables = status.tables.map(({ name, version, published }) => [
      `table:${name}`,
      [version, published?.version, published?.failure].join(" "),
    ]);
    const received = ledger.hops
      .filter(({ hop, stream }) => hop === `bronze.${stream}`)
      .map(({ hop, stored }) => [`table:${hop}`, String(stored)]);
    return {
      ...Object.fromEntries([...streams, ...tables, ...received]),
      ...records,
      streams: hash(streams),
      tables: hash(tables),
      alerts: String(end(ALERT_STREAM)),
      silences: String(end(SILENCE_STREAM)),
      "dead-letters": `${end(DEAD_LETTER_STREAM)} ${end(ACTION_STREAM)}`,
      // When it was counted again is no change.
      ledger: hash([
        ledger.hops.map(({ verifiedAt: _, publication, ...hop }) => [hop, publication?.version]),
        ledger.imbalances,
      ]),
      workers: hash(parts.workers().map(({ id, live, roles, owns }) => [id, live, roles, owns])),
      latencies: measured.map(({ count }) => count).join(" "),
    };
  };
}

function hash(value: unknown): string {
  return createHash("sha1").update(JSON.stringify(value)).digest("base64url").slice(0, 12);
}
