/**
 * Dead letters of deliveries: one for each change of an alert that a destination refused, or did not take for too long. Retrying one sends it again, once;
 * it is closed by the attempt that succeeds.
 */
import type { ActionLog, Outcome } from "./dead-letter-actions.ts";
import type { DeadLetter } from "./dead-letters.ts";
import { deliveryId } from "./deliveries.ts";

/** A change that a destination did not take. */
export interface UndeliveredChange {
  readonly destination: string;
  /** Its offset among the changes, and what it says. */
  readonly change: { readonly offset: number };
  readonly code: string;
  readonly message: string;
}

/** Sends a change to a destination again; resolves to why it was not taken, where it was not. */
export type Redeliver = (
  destination: string,
  offset: number,
  change: Readonly<Record<string, unknown>>,
) => Promise<{
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  /** The destination takes nothing for now. */
  readonly down?: boolean | undefined;
}>;

const PREFIX = "deliver/";

/** The same for the same change and destination, so that it has one letter for ever. */
export function deliveryLetter({ destination, change, code, message }: UndeliveredChange): DeadLetter {
  const { offset, ...told } = change;
  const payload = JSON.stringify(told);
  const id = `${PREFIX}${deliveryId(destination, offset)}`;
  return { id, stream: "", stage: "deliver", code, message, payload, source: `deliver:${destination}` };
}

export interface DeliveryRetry {
  readonly id: string;
  readonly outcome: "stored" | "failed";
  readonly code?: string | undefined;
  readonly message?: string | undefined;
}

/**
 * Sends each letter's change again, in the order in which they came, and records what became of it. A destination that is down is tried once: that
 * attempt stands for all its letters, which would otherwise take the timeout of each.
 */
export async function retryDeliveries(
  letters: readonly { readonly id: string; readonly payload: Uint8Array }[],
  { actions, redeliver, actor }: { readonly actions: ActionLog; readonly redeliver: Redeliver; readonly actor: string },
): Promise<DeliveryRetry[]> {
  const results: DeliveryRetry[] = [];
  const downs = new Map<string, Awaited<ReturnType<Redeliver>>>();
  for (const { id, payload } of letters) {
    const [, destination = "", offset = ""] = /^deliver\/(.+)\/(\d+)$/.exec(id) ?? [];
    const change = () => JSON.parse(Buffer.from(payload).toString("utf8")) as Record<string, unknown>;
    const tried = downs.get(destination) ?? (await redeliver(destination, Number(offset), change()));
    if (tried.down) downs.set(destination, tried);
    const { code, message } = tried;
    const outcome: Outcome = { deadLetterId: id, outcome: code === undefined ? "stored" : "failed", code, message };
    // One at a time: what has been sent is closed, whatever happens to those behind it.
    await actions.record([outcome], actor);
    results.push({ id, outcome: code === undefined ? "stored" : "failed", code, message });
  }
  return results;
}
