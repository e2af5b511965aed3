/** Writes down once a minute how the hops of the ledger stand that have changed since, so that it can be looked at over time. */
import type { LedgerHop, LedgerView } from "../serve/admin-route.ts";
import type { HopMoment, LedgerMinutes } from "../state/ledger-minutes.ts";

export interface LedgerHistoryParts {
  readonly minutes: Pick<LedgerMinutes, "write">;
  readonly ledger: () => Promise<LedgerView>;
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
}

const EVERY_MS = 60_000;

/** Begins with how it stands now. Returns what ends it, and waits for what is under way. */
export function keepLedgerHistory({ minutes, ledger, clock, report }: LedgerHistoryParts): () => Promise<void> {
  const written = new Map<string, string>();
  let failed = false;
  const write = async () => {
    try {
      const hops = (await ledger()).hops.map(momentOf);
      const changed = hops.filter((hop) => written.get(nameOf(hop)) !== JSON.stringify(hop));
      await minutes.write(changed, clock());
      for (const hop of changed) written.set(nameOf(hop), JSON.stringify(hop));
      failed = false;
    } catch (error) {
      // What is missed is a minute of a chart; the ledger itself is elsewhere.
      if (!failed) report(error, "writing the ledger's history down failed");
      failed = true;
    }
  };
  let last = write();
  const timer = setInterval(() => {
    last = last.then(write);
  }, EVERY_MS).unref();
  return async () => {
    clearInterval(timer);
    await last;
  };
}

function nameOf({ stream, hop }: HopMoment): string {
  return JSON.stringify([stream, hop]);
}

function momentOf(entry: LedgerHop): HopMoment {
  const { stream, hop, accepted, stored, duplicate, filtered, deadLettered, pending, balanced } = entry;
  return { stream, hop, accepted, stored, duplicate, filtered, deadLettered, pending, balanced };
}
