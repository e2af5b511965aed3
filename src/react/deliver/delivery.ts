/**
 * Brings each change of an alert to the destinations it is for. `_alerts` has the changes, durable before this sees them; `_deliveries` remembers what
 * became of each, so nothing of it depends on another service, and a destination that is away for an hour finds everything when it is back.
 */
import { randomUUID } from "node:crypto";
import type { AlertChange } from "../../define/destinations.ts";
import type { Destination } from "../../define/read-destination.ts";
import { MillraceError, messageOf } from "../../errors.ts";
import type { DeliveryEvent, DeliveryRecords, DestinationPosition } from "../../flow/deliveries.ts";
import type { EventLog } from "../../log/event-log.ts";
import { pause } from "./backoff.ts";
import { ChangeReader, MOST_SEEN } from "./change-reader.ts";
import { type Lane, type LaneParts, messageName, OutsideLane, StreamLane, type Undeliverable } from "./lane.ts";
import { openSender } from "./open-sender.ts";
import { type Change, DeliveryFailure, type Sender } from "./sender.ts";
import type { Admit } from "./stream-courier.ts";

export interface DeliveryParts {
  readonly destinations: ReadonlyMap<string, Destination>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: EventLog;
  /** The stream of changes. */
  readonly stream: string;
  readonly records: DeliveryRecords;
  readonly deadLetters: (letters: readonly Undeliverable[]) => Promise<void>;
  readonly admit: Admit;
  /** Whether this process still is the one that delivers, where several could. */
  readonly may?: () => boolean;
  /** Names of the destinations a change is for. */
  readonly route: (change: AlertChange) => readonly string[];
  readonly shouldDeliver: (change: AlertChange, destination: string) => boolean | Promise<boolean>;
  readonly clock: () => number;
  readonly random: () => number;
  readonly report: (error: unknown, what: string) => void;
}

/** How a destination stands. */
export interface DestinationView {
  readonly name: string;
  readonly kind: string;
  /** Where it is, without anything secret. */
  readonly address: string;
  readonly status: "up" | "failing" | "paused";
  /** Changes that are on their way. */
  readonly waiting: number;
  readonly oldestWaiting: string | null;
  readonly lastDelivered: string | null;
  readonly lastFailure: { readonly at: string; readonly message: string } | null;
  /** Nothing is tried until then. */
  readonly pausedUntil: string | null;
  /** Since the start. */
  readonly delivered: number;
  readonly failedAttempts: number;
  readonly deadLettered: number;
}

/** What retrying a dead letter came to. */
export type Redelivered =
  | { readonly code?: undefined; readonly down?: undefined }
  | {
      readonly code: MillraceError["code"];
      readonly message: string;
      /** It takes nothing for now. */
      readonly down?: boolean;
    };

const TICK_MS = 50;
/** How long the platform's stop waits for messages under way. */
const GRACE_MS = 3000;
const BEGIN_PAUSE_MS = 1000;
/** Between looks whether the rate allows one more. */
const RATE_PAUSE_MS = 50;

export class Delivery {
  readonly #o: DeliveryParts;
  readonly #lanes: ReadonlyMap<string, Lane>;
  /** Where changes begin that no earlier life can have delivered. */
  readonly #firstOffset: number;
  readonly #ended = new AbortController();
  #reader: ChangeReader | undefined;
  #working: Promise<void> = Promise.resolve();
  #tick: NodeJS.Timeout | undefined;

  private constructor(parts: DeliveryParts, senders: ReadonlyMap<string, Sender>) {
    this.#o = parts;
    this.#firstOffset = parts.log.ends(parts.stream, 0).end;
    const lanes: LaneParts = {
      ...{ log: parts.log, records: parts.records, admit: parts.admit, deadLetters: parts.deadLetters },
      may: parts.may ?? (() => true),
      ...{ clock: parts.clock, random: parts.random, report: parts.report },
      reader: () => this.#reader as ChangeReader,
      isFor: (change, destination) => parts.route(change).includes(destination),
      shouldDeliver: async (change, destination) => {
        try {
          return await parts.shouldDeliver(change, destination);
        } catch (error) {
          parts.report(error, "looking whether an alert is silenced; it is told");
          return true;
        }
      },
    };
    this.#lanes = new Map(
      [...parts.destinations].map(([name, destination]) => [
        name,
        destination.kind === "stream"
          ? new StreamLane(destination, lanes)
          : new OutsideLane(destination, senders.get(name) as Sender, lanes),
      ]),
    );
  }

  /** @throws DESTINATION_UNSET */
  static async open(parts: DeliveryParts): Promise<Delivery> {
    const senders = new Map<string, Sender>();
    for (const [name, destination] of parts.destinations)
      if (destination.kind !== "stream") senders.set(name, await openSender(destination, parts));
    return new Delivery(parts, senders);
  }

  /** Begins to deliver, without holding up the start. */
  begin(): void {
    this.#working = this.#run();
    this.#tick = setInterval(() => this.tick(), TICK_MS);
    this.#tick.unref();
  }

  /** Does what is due by the clock. */
  tick(): void {
    for (const lane of this.#lanes.values()) lane.tick();
  }

  destinations(): DestinationView[] {
    const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
    return [...this.#lanes.values()].map((lane) => {
      const { name, kind } = lane.destination;
      const figures = lane.figures();
      const { lastFailure, lastDeliveredAtMs, pausedUntilMs, failing } = figures;
      return {
        ...{ name, kind, address: lane.address, waiting: figures.waiting },
        status: pausedUntilMs !== undefined ? "paused" : failing ? "failing" : "up",
        oldestWaiting: iso(figures.oldestSinceMs),
        lastDelivered: iso(lastDeliveredAtMs),
        lastFailure: lastFailure
          ? { at: new Date(lastFailure.atMs).toISOString(), message: lastFailure.message }
          : null,
        pausedUntil: iso(pausedUntilMs),
        ...{ delivered: figures.delivered, failedAttempts: figures.failed, deadLettered: figures.deadLettered },
      };
    });
  }

  /**
   * Sends a made-up alert to a destination now, and its end where the other side would keep it open. Nothing of it is recorded.
   * @throws DESTINATION_UNKNOWN, DELIVERY_REFUSED, DELIVERY_FAILED
   */
  async test(
    name: string,
    nearest: (name: string, known: readonly string[]) => string,
  ): Promise<{ elapsedMs: number }> {
    const names = [...this.#lanes.keys()];
    const lane = this.#lanes.get(name);
    if (lane === undefined) {
      const allowed = names.length === 0 ? "The project has none" : `The project has ${names.join(", ")}`;
      const params = { destination: name, subject: "", nearest: nearest(name, names), allowed };
      throw new MillraceError("DESTINATION_UNKNOWN", params);
    }
    const started = performance.now();
    const id = randomUUID();
    for (const state of ["firing", "resolved"]) {
      const failed = await this.#once(lane, this.#made(name, id, state));
      if (failed !== undefined) {
        const code = failed.verdict === "refused" ? "DELIVERY_REFUSED" : "DELIVERY_FAILED";
        throw new MillraceError(code, { destination: messageName(lane.destination), reason: failed.message });
      }
      if (!keepsState(lane.destination)) break;
    }
    return { elapsedMs: Math.round(performance.now() - started) };
  }

  /**
   * Tries once more what had become a dead letter. A change that a later one of its alert has overtaken is not told to a destination that keeps alerts
   * open: it would open what is over.
   */
  async redeliver(name: string, change: Change): Promise<Redelivered> {
    const { records } = this.#o;
    const lane = this.#lanes.get(name);
    if (lane === undefined) {
      const params = { destination: name, subject: "", nearest: "", allowed: "" };
      return { code: "DESTINATION_UNKNOWN", message: messageOf("DESTINATION_UNKNOWN", params) };
    }
    const { attempts, targets } = await records.tried(name, change.offset);
    // Everything below is settled already, whatever becomes of this.
    const event = { destination: name, change, low: 0 };
    if (keepsState(lane.destination) && (await records.isSuperseded(name, change))) {
      await records.append([{ ...event, outcome: "superseded", attempt: attempts }]);
      return {};
    }
    let failed: DeliveryFailure | undefined;
    if (lane instanceof StreamLane) {
      const { stream } = lane.destination;
      const known = targets?.stream === stream ? targets.ends : undefined;
      if (known === undefined)
        await records.append([
          { ...event, outcome: "pending", attempt: attempts, targets: { stream, ends: lane.courier.ends() } },
        ]);
      const reason = await lane.courier.retake(change, known);
      if (reason !== undefined) failed = new DeliveryFailure("refused", reason);
      else lane.took();
    } else failed = await this.#once(lane, change);
    if (failed === undefined) {
      await records.append([{ ...event, outcome: "delivered", attempt: attempts + 1 }]);
      return {};
    }
    const code = failed.verdict === "refused" ? "DELIVERY_REFUSED" : "DELIVERY_FAILED";
    const message = messageOf(code, { destination: messageName(lane.destination), reason: failed.message });
    await records.append([{ ...event, outcome: "dead", attempt: attempts + 1, code, message }]);
    return { code, message, down: failed.verdict === "down" };
  }

  async close(): Promise<void> {
    clearInterval(this.#tick);
    this.#ended.abort(new Error("the platform is stopping"));
    await Promise.all([...this.#lanes.values()].map((lane) => lane.close(GRACE_MS)));
    await this.#working;
  }

  async #run(): Promise<void> {
    const { report } = this.#o;
    let positions: ReadonlyMap<string, DestinationPosition> | undefined;
    while (positions === undefined) {
      try {
        positions = await this.#positions();
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        report(error, "starting to deliver alerts; it is tried again");
        if (!(await pause(BEGIN_PAUSE_MS, this.#ended.signal))) return;
      }
    }
    const known = positions;
    await Promise.all([...this.#lanes].map(([name, lane]) => lane.run(known.get(name) as DestinationPosition)));
  }

  /** Where each destination goes on, once that is durable; what is left of destinations that are no more becomes dead letters. */
  async #positions(): Promise<ReadonlyMap<string, DestinationPosition>> {
    const { records, log, stream, report } = this.#o;
    const known = await records.positions();
    const seen = await records.newest(MOST_SEEN / 2);
    this.#reader = new ChangeReader({ log, stream, records, seen, report });
    const low = this.#firstOffset;
    const events: DeliveryEvent[] = [];
    const positions = new Map<string, DestinationPosition>();
    for (const [name, lane] of this.#lanes) {
      const before = known.get(name) ?? { low, targets: undefined, settled: new Set<number>(), open: new Map() };
      const target = lane instanceof StreamLane ? lane.destination.stream : undefined;
      const moved = target !== undefined && before.targets?.stream !== target;
      const targets = moved ? { stream: target, ends: (lane as StreamLane).courier.ends() } : before.targets;
      if (moved || !known.has(name))
        events.push({ destination: name, outcome: "position", low: before.low, ...(targets && { targets }) });
      positions.set(name, { ...before, targets });
    }
    for (const [name, position] of known)
      if (!this.#lanes.has(name) && position.low < low) events.push(...(await this.#gone(name, position)));
    await records.append(events);
    return positions;
  }

  /** A destination that the project no longer has. Should it come back, it begins with what is new then. */
  async #gone(name: string, { open }: DestinationPosition): Promise<DeliveryEvent[]> {
    const low = this.#firstOffset;
    const code = "DESTINATION_UNKNOWN";
    const message = messageOf(code, { destination: name, subject: "", nearest: "", allowed: "" });
    const left: Undeliverable[] = [];
    for (const offset of open.keys()) {
      const change = await this.#reader?.at(offset);
      if (change !== undefined) left.push({ destination: name, change, code, message });
    }
    await this.#o.deadLetters(left);
    return [
      ...left.map(({ change }): DeliveryEvent => ({ destination: name, outcome: "dead", low, change, code, message })),
      { destination: name, outcome: "position", low },
    ];
  }

  /** One message beside the others; resolves to why it was not taken. */
  async #once(lane: Lane, change: Change): Promise<DeliveryFailure | undefined> {
    try {
      if (lane instanceof OutsideLane) {
        while (!lane.mayTry())
          if (!(await pause(RATE_PAUSE_MS, this.#ended.signal))) throw new MillraceError("SHUTTING_DOWN");
        await lane.sender.send([change], this.#ended.signal);
      } else {
        const reason = await (lane as StreamLane).courier.retake(change, undefined);
        if (reason !== undefined) return new DeliveryFailure("refused", reason);
      }
      lane.took();
      return undefined;
    } catch (error) {
      if (this.#ended.signal.aborted) throw new MillraceError("SHUTTING_DOWN");
      if (error instanceof DeliveryFailure) return error;
      throw error;
    }
  }

  #made(destination: string, id: string, state: string): Change {
    const alertId = `test/${destination}/${id}`;
    return {
      ...{ event_id: `${alertId}/${state}`, alert_id: alertId, at: new Date(this.#o.clock()).toISOString() },
      ...{ kind: "test", name: "test", severity: "info", state, key: destination },
      summary: "This is a test of the destination. Nothing is wrong.",
      ...{ details: null, offset: -1 },
    };
  }
}

/** Whether the other side keeps an alert open until it is told of its end. */
function keepsState({ kind }: Destination): boolean {
  return kind === "pagerduty" || kind === "opsgenie";
}
