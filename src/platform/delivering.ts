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
import { Delivery } from "../react/deliver/delivery.ts";
import type { Change } from "../react/deliver/sender.ts";
import type { Admit } from "../react/deliver/stream-courier.ts";
import type { Destinations } from "../serve/destinations-route.ts";
import { destinationsOf } from "./alerting.ts";

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
export function delivering(parts: DeliveringParts): Promise<Delivery> {
  const { project, flow, log, admit, env, clock, report, shouldDeliver = () => true } = parts;
  const { destinations } = project;
  return Delivery.open({
    ...{ destinations, env, log, admit, clock, report, shouldDeliver },
    stream: ALERT_STREAM,
    records: flow.deliveries,
    deadLetters: (letters) => flow.deadLetters(letters.map(deliveryLetter)),
    route: (change) => destinationsOf(project, change),
    random: () => randomInt(2 ** 32) / 2 ** 32,
  });
}

/** Retries of dead letters as the flow's desk sees them. */
export function redelivery(delivery: () => Delivery | undefined): Redeliver {
  return async (destination, offset, change) => {
    const part = delivery();
    // The desk settles what a crash left before requests come in, and sends nothing then.
    if (part === undefined) throw new MillraceError("INTERNAL", { what: "sending a change again" });
    return part.redeliver(destination, { ...change, offset } as Change);
  };
}

/** Destinations and deliveries as the HTTP routes see them. */
export function destinations(delivery: Delivery, flow: Flow): Destinations {
  return {
    statuses: DELIVERY_STATUSES,
    list: () => delivery.destinations(),
    test: (name) => delivery.test(name, didYouMean),
    deliveries: (filter, page) => flow.deliveries.list(filter, page),
  };
}
