import { randomInt } from "node:crypto";
import { ALERT_STREAM } from "../define/alert-event.ts";
import type { AlertChange } from "../define/destinations.ts";
import { didYouMean } from "../define/nearest.ts";
import type { Project } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import { deliveryLetter, type Redeliver } from "../flow/deliver-letters.ts";
import { DELIVERY_STATUSES } from "../flow/deliveries.ts";
import type { Flow } from "../flow/flow.ts";
import type { EventLog } from "../log/event-log.ts";
import { Delivery, type DestinationView, type Redelivered } from "../react/deliver/delivery.ts";
import type { Change } from "../react/deliver/sender.ts";
import type { Admit } from "../react/deliver/stream-courier.ts";
import type { LeaderCall, ReactPeers } from "../react/lane-calls.ts";
import type { Destinations } from "../serve/destinations-route.ts";
import type { LeasedWork } from "../state/leases.ts";
import { type Alerting, destinationsOf } from "./alerting.ts";
import { REACT_LEASE } from "./react-peers.ts";

export interface DeliveringParts {
  readonly project: Project;
  readonly flow: Flow;
  readonly log: EventLog;
  readonly admit: Admit;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: () => number;
  /** Whether a change is to be told now: false while its alert is silenced. */
  readonly shouldDeliver?: (change: AlertChange, destination: string) => boolean | Promise<boolean>;
  readonly report: (error: unknown, what: string) => void;
}

/** What takes changes of alerts to the project's destinations. @throws DESTINATION_UNSET */
export function delivering(parts: DeliveringParts, may = () => true): Promise<Delivery> {
  const { project, flow, log, admit, env, clock, report, shouldDeliver = () => true } = parts;
  const { destinations } = project;
  return Delivery.open({
    ...{ destinations, env, log, admit, may, clock, report, shouldDeliver },
    stream: ALERT_STREAM,
    records: flow.deliveries,
    deadLetters: (letters) => flow.deadLetters(letters.map(deliveryLetter)),
    route: (change) => destinationsOf(project, change),
    random: () => randomInt(2 ** 32) / 2 ** 32,
  });
}

/**
 * Deliveries of a process that may share them: one of all delivers, and is asked by the others.
 */
export class Delivering {
  readonly #parts: DeliveringParts;
  readonly #peers: ReactPeers | undefined;
  #delivery: Delivery | undefined;

  /** `peers`: undefined for a process that works alone. */
  constructor(parts: DeliveringParts, peers?: ReactPeers) {
    this.#parts = parts;
    this.#peers = peers;
  }

  /** Makes sure that destinations can be told. @throws DESTINATION_UNSET */
  async check(): Promise<void> {
    await (await delivering(this.#parts)).close();
  }

  /** Delivers from now on, from where whoever did before has left it. `may`: whether it still is this process that delivers. */
  async start(may?: () => boolean): Promise<void> {
    await this.#parts.log.refresh([ALERT_STREAM]);
    this.#delivery = await delivering(this.#parts, may);
    this.#delivery.begin();
  }

  /** Leaves it to others; `start` begins again. */
  async stop(): Promise<void> {
    const delivery = this.#delivery;
    this.#delivery = undefined;
    await delivery?.close();
  }

  /** How destinations stand, when this process delivers. */
  own(): DestinationView[] {
    return this.#delivery?.destinations() ?? [];
  }

  async destinations(): Promise<DestinationView[]> {
    if (this.#delivery) return this.#delivery.destinations();
    return (await this.#ask({ call: "destinations" })) as DestinationView[];
  }

  /** @throws DESTINATION_UNKNOWN, DELIVERY_REFUSED, DELIVERY_FAILED, REACT_UNAVAILABLE */
  async test(destination: string): Promise<{ elapsedMs: number }> {
    if (this.#delivery) return this.#delivery.test(destination, didYouMean);
    return (await this.#ask({ call: "test", destination })) as { elapsedMs: number };
  }

  async redeliver(destination: string, change: Change): Promise<Redelivered> {
    if (this.#delivery) return this.#delivery.redeliver(destination, change);
    return (await this.#ask({ call: "redeliver", destination, change: { ...change } })) as Redelivered;
  }

  /** Answers another process. @throws REACT_UNAVAILABLE when this one does not deliver (any more), and what the call throws */
  async answer(call: LeaderCall): Promise<unknown> {
    if (this.#delivery === undefined) throw unavailable();
    if (call.call === "destinations") return this.#delivery.destinations();
    if (call.call === "test") return this.#delivery.test(call.destination, didYouMean);
    return this.#delivery.redeliver(call.destination, call.change as unknown as Change);
  }

  async #ask(question: LeaderQuestion): Promise<unknown> {
    if (this.#peers === undefined) throw unavailable();
    return this.#peers.ask({ to: "leader", lease: REACT_LEASE, ...question });
  }
}

/** What one process of all does about alerts, as long as it leads: it looks after them, and tells them. */
export function alertsUnderLease(
  alerting: Pick<Alerting, "start" | "stop">,
  delivery: Pick<Delivering, "start" | "stop">,
): LeasedWork {
  return {
    async gained(lease) {
      alerting.start();
      await delivery.start(() => lease.holds());
    },
    async lost() {
      // Neither waits for the other: what went on here would go on beside whoever leads next.
      const ended = await Promise.allSettled([delivery.stop(), alerting.stop()]);
      for (const one of ended) if (one.status === "rejected") throw one.reason;
    },
  };
}

type LeaderQuestion = LeaderCall extends infer Call
  ? Call extends LeaderCall
    ? Omit<Call, "to" | "lease">
    : never
  : never;

function unavailable(): MillraceError {
  const reason = "deliveries are being started, or are on their way to another worker";
  return new MillraceError("REACT_UNAVAILABLE", { operator: "what tells alerts", reason }, { retryAfterS: 1 });
}

/** Retries of dead letters as the flow's desk sees them. */
export function redelivery(delivery: () => Pick<Delivering, "redeliver"> | undefined): Redeliver {
  return async (destination, offset, change) => {
    const part = delivery();
    // The desk settles what a crash left before requests come in, and sends nothing then.
    if (part === undefined) throw new MillraceError("INTERNAL", { what: "sending a change again" });
    return part.redeliver(destination, { ...change, offset } as Change);
  };
}

/** Destinations and deliveries as the HTTP routes see them. */
export function destinations(delivery: Delivering, flow: Flow): Destinations {
  return {
    statuses: DELIVERY_STATUSES,
    list: () => delivery.destinations(),
    test: (name) => delivery.test(name),
    deliveries: (filter, page) => flow.deliveries.list(filter, page),
  };
}
