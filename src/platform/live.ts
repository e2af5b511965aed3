/** How every node of the project's map does at one moment, from the counters that the platform keeps anyway. */
import type { Project } from "../define/project.ts";
import type { LedgerHop, LedgerView, PlatformStatus } from "../serve/admin-route.ts";
import type { AlertsPort } from "../serve/alerts-route.ts";
import type { Live, NodePulse, Pulse } from "../serve/map-route.ts";
import type { OpenLetters } from "./open-letters.ts";
import { projectMap } from "./project-map.ts";

export interface LiveParts {
  readonly project: Project;
  readonly status: (hops: LedgerView["hops"]) => Promise<PlatformStatus>;
  readonly ledger: () => Promise<LedgerView>;
  readonly alerts: Pick<AlertsPort, "list">;
  readonly destinations: () => Promise<readonly object[]>;
  readonly letters: () => Promise<OpenLetters>;
  /** How many are being answered. */
  readonly queries: () => number;
  readonly process: () => Pulse["process"];
  readonly stamps: (moment: {
    readonly status: PlatformStatus;
    readonly ledger: LedgerView;
  }) => Promise<Pulse["stamps"]>;
  readonly heartbeats: () => Pulse["heartbeats"];
  readonly clock: () => number;
}

type AlertList = Awaited<ReturnType<AlertsPort["list"]>>["alerts"];
interface DestinationFacts {
  readonly name: string;
  readonly status: string;
  readonly delivered: number;
  readonly waiting: number;
  readonly lastFailure: { readonly message?: string } | null;
}

/** Alerts are looked up by a query: not with every pulse. */
const ALERTS_EVERY_MS = 2_000;
const MOST_ALERTS = 1_000;

export function live(parts: LiveParts): Live {
  const { project, clock } = parts;
  let alerts: AlertList = [];
  let alertsAtMs = Number.NEGATIVE_INFINITY;
  const firing = async () => {
    if (clock() - alertsAtMs < ALERTS_EVERY_MS && clock() >= alertsAtMs) return alerts;
    alertsAtMs = clock();
    alerts = (await parts.alerts.list({ state: "firing" }, { limit: MOST_ALERTS })).alerts;
    return alerts;
  };
  const ailing = new Map<string, { health: NodePulse["health"]; sinceMs: number }>();
  /** Since when each is as unwell as it is; an alert and the ledger know it themselves. */
  const sinceWhen = (nodes: Record<string, NodePulse>): Record<string, NodePulse> => {
    for (const [id, node] of Object.entries(nodes)) {
      const { health, sinceMs } = node;
      const ill = health === "bad" || health === "warning";
      const known = ailing.get(id);
      if (!ill) ailing.delete(id);
      else if (known?.health !== health) ailing.set(id, { health, sinceMs: clock() });
      nodes[id] = { ...node, sinceMs: sinceMs ?? ailing.get(id)?.sinceMs ?? null };
    }
    return nodes;
  };
  return {
    map: () => projectMap(project),
    async pulse(): Promise<Pulse> {
      const ledger = await parts.ledger();
      const [status, open, delivered, letters] = await Promise.all([
        parts.status(ledger.hops),
        firing(),
        parts.destinations(),
        parts.letters(),
      ]);
      const count = (severity: string) => open.filter((alert) => alert.severity === severity).length;
      return {
        ...{ atMs: clock(), ready: status.ready, problems: status.problems, balanced: ledger.balanced },
        ...{ residentBytes: status.residentBytes, startedAtMs: status.startedAtMs },
        queries: parts.queries(),
        ...{ process: parts.process(), heartbeats: parts.heartbeats(), stamps: await parts.stamps({ status, ledger }) },
        firing: { critical: count("critical"), warning: count("warning"), info: count("info") },
        deadLetters: letters.total,
        nodes: sinceWhen({
          ...streamPulses(project, status, ledger, letters),
          ...tablePulses(project, status, ledger, letters, clock()),
          ...functionPulses(status),
          ...alertPulses(project, open),
          ...destinationPulses(delivered as readonly DestinationFacts[]),
        }),
      };
    },
  };
}

const IDLE: NodePulse = {
  ...{
    count: 0,
    pending: 0,
    rejected: 0,
    deadLettered: 0,
    freshAtMs: null,
    health: "idle",
    problem: null,
    sinceMs: null,
  },
};

function streamPulses(
  project: Project,
  status: PlatformStatus,
  ledger: LedgerView,
  letters: OpenLetters,
): Record<string, NodePulse> {
  const pulses = status.streams.map(({ name, accepted, rejected, pending }): [string, NodePulse] => {
    const hop = ledger.hops.find((one) => one.hop === `bronze.${name}`);
    const problem = hop === undefined || hop.balanced ? null : "the ledger does not balance";
    const deadLettered = letters.atDoor.get(name) ?? 0;
    const health = problem !== null ? "bad" : deadLettered > 0 ? "warning" : accepted === 0 ? "idle" : "ok";
    const kind = project.windows.has(name) ? "window" : "stream";
    return [`${kind}:${name}`, { ...IDLE, count: accepted, pending, rejected, deadLettered, health, problem }];
  });
  return Object.fromEntries(pulses);
}

function tablePulses(
  project: Project,
  status: PlatformStatus,
  ledger: LedgerView,
  letters: OpenLetters,
  nowMs: number,
): Record<string, NodePulse> {
  const pulses = status.tables.map(({ name, rows, committedAtMs, published }): [string, NodePulse] => {
    const hop: LedgerHop | undefined = ledger.hops.find((one) => one.hop === name);
    const told = status.problems.find((problem) => problem.includes(name));
    const broken = hop?.balanced === false ? "the ledger does not balance" : (published?.failure ?? told ?? null);
    const deadLettered = letters.ofTable.get(name) ?? 0;
    const { freshnessMs = Number.POSITIVE_INFINITY } = project.tables.get(name) ?? {};
    const overdue = committedAtMs !== null && nowMs - committedAtMs > freshnessMs;
    const problem = broken ?? (overdue ? "it has had no new rows for longer than its freshness allows" : null);
    const warned = overdue || deadLettered > 0;
    const health = broken !== null ? "bad" : warned ? "warning" : rows === 0 ? "idle" : "ok";
    return [
      `table:${name}`,
      { ...IDLE, count: rows, pending: hop?.pending ?? 0, deadLettered, freshAtMs: committedAtMs, health, problem },
    ];
  });
  return Object.fromEntries(pulses);
}

function functionPulses(status: PlatformStatus): Record<string, NodePulse> {
  const pulses = status.functions.map(({ name, handled, pending, deadLettered, problem }): [string, NodePulse] => {
    const health = problem !== null ? "bad" : deadLettered > 0 ? "warning" : handled === 0 ? "idle" : "ok";
    return [`function:${name}`, { ...IDLE, count: handled, pending, deadLettered, health, problem }];
  });
  return Object.fromEntries(pulses);
}

function alertPulses(project: Project, open: AlertList): Record<string, NodePulse> {
  const pulses = [...project.alerts.values()].map(({ name }): [string, NodePulse] => {
    const own = open.filter((alert) => alert.name === name);
    const worst = own.some(({ severity }) => severity === "critical") ? "bad" : own.length > 0 ? "warning" : "ok";
    const sinceMs = own.length === 0 ? null : Math.min(...own.map(({ atMs }) => atMs));
    return [`alert:${name}`, { ...IDLE, count: own.length, health: worst, problem: own[0]?.summary ?? null, sinceMs }];
  });
  return Object.fromEntries(pulses);
}

function destinationPulses(destinations: readonly DestinationFacts[]): Record<string, NodePulse> {
  const pulses = destinations.map(({ name, status, delivered, waiting, lastFailure }): [string, NodePulse] => {
    const failing = status === "failing";
    const health = failing ? "bad" : delivered === 0 ? "idle" : "ok";
    const problem = failing ? (lastFailure?.message ?? "it does not answer") : null;
    return [`destination:${name}`, { ...IDLE, count: delivered, pending: waiting, health, problem }];
  });
  return Object.fromEntries(pulses);
}
