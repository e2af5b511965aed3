import type { Answer } from "./door.ts";
import { KINDS, type Kind, type SentEvent } from "./sent-event.ts";

/** Counts what was sent and what was answered, so that it can be held against the platform's ledger. */
export class Tally {
  readonly #streams = new Map<string, StreamCount>();
  readonly #codes: Record<string, number> = {};
  #requests = 0;
  #throttled = 0;
  #resent = 0;

  add(stream: string, events: readonly SentEvent[], answer: Answer): void {
    const count = this.#streams.get(stream) ?? emptyCount();
    this.#streams.set(stream, count);
    count.sent += events.length;
    count.accepted += answer.accepted;
    count.rejected += answer.rejected;
    for (const { kind } of events) count.kinds[kind]++;
    for (const code of answer.codes) this.#codes[code] = (this.#codes[code] ?? 0) + 1;
    this.#requests += 1 + answer.throttled + answer.resent;
    this.#throttled += answer.throttled;
    this.#resent += answer.resent === 0 ? 0 : events.length;
  }

  summary(): Summary {
    const streams = Object.fromEntries([...this.#streams].sort(([a], [b]) => (a < b ? -1 : 1)));
    const total = emptyCount();
    for (const count of this.#streams.values()) {
      total.sent += count.sent;
      total.accepted += count.accepted;
      total.rejected += count.rejected;
      for (const kind of KINDS) total.kinds[kind] += count.kinds[kind];
    }
    const { sent, accepted, rejected, kinds } = total;
    return {
      sent,
      accepted,
      rejected,
      kinds,
      streams,
      rejectedByCode: this.#codes,
      requests: this.#requests,
      throttled: this.#throttled,
      resent: this.#resent,
    };
  }
}

export interface StreamCount {
  sent: number;
  accepted: number;
  rejected: number;
  /** What was sent, by kind; `malformed` events are those the platform has to reject. */
  kinds: Record<Kind, number>;
}

export interface Summary extends Readonly<StreamCount> {
  readonly streams: Readonly<Record<string, StreamCount>>;
  readonly rejectedByCode: Readonly<Record<string, number>>;
  readonly requests: number;
  /** Requests that the platform answered with 429 or 503. */
  readonly throttled: number;
  /** Events sent again because an answer was lost; they may count as duplicates beside those of kind `duplicate`. */
  readonly resent: number;
}

function emptyCount(): StreamCount {
  const kinds = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;
  return { sent: 0, accepted: 0, rejected: 0, kinds };
}

/** A few lines for people. */
export function describe(summary: Summary, seconds: number, seed: number): string {
  const { sent, accepted, rejected, kinds, throttled, resent } = summary;
  const lines = [
    `simulator: ${sent} events in ${seconds.toFixed(1)} s (seed ${seed}), ${accepted} accepted, ${rejected} rejected`,
    `  sent: ${KINDS.filter((kind) => kinds[kind] > 0)
      .map((kind) => `${kinds[kind]} ${kind.replace("_", " ")}`)
      .join(", ")}`,
  ];
  for (const [stream, count] of Object.entries(summary.streams)) {
    lines.push(
      `  ${stream}: ${count.accepted} accepted, ${count.rejected} rejected, ${count.kinds.duplicate} sent twice`,
    );
  }
  if (throttled > 0) lines.push(`  asked to wait ${throttled} times`);
  if (resent > 0) lines.push(`  ${resent} events sent again after a lost answer`);
  return lines.join("\n");
}
