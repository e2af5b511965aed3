/** Alerts of a project, between the parts that find them, keep them and show them. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { routeOf } from "../define/alert-routes.ts";
import type { StreamAlert, TableAlert } from "../define/bind-alerts.ts";
import type { AlertChange } from "../define/destinations.ts";
import type { Project } from "../define/project.ts";
import { keyFault } from "../define/read-window.ts";
import type { SqlInspector } from "../define/sql-inspector.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { KnownAlert } from "../flow/alert-records.ts";
import type { Flow } from "../flow/flow.ts";
import { SILENCE_STREAM } from "../flow/silences.ts";
import type { FileSystem } from "../lake/file-system.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import type { EventLog } from "../log/event-log.ts";
import { AlertDesk } from "../react/alerts/alert-desk.ts";
import { AlertFiles, AlertObjects } from "../react/alerts/alert-memory.ts";
import { alertOperator } from "../react/alerts/alert-operator.ts";
import { DEFINED } from "../react/alerts/occasion.ts";
import { SilentStreams } from "../react/alerts/silent-streams.ts";
import { ALERT_FAILED, type QueryOptions, TableAlerts } from "../react/alerts/table-alerts.ts";
import type { OperatorPlan } from "../react/operator.ts";
import type { LaneStatus } from "../react/reactor-options.ts";
import type { AlertsPort } from "../serve/alerts-route.ts";
import { bindQuery } from "../serve/bind-query.ts";
import type { Catalogue } from "../serve/catalogue.ts";

export interface AlertingParts {
  readonly project: Project;
  readonly flow: Flow;
  readonly engine: SqlEngine;
  readonly inspector: SqlInspector;
  readonly catalogue: Catalogue;
  readonly log: EventLog;
  /** How far the reactor's lanes are. */
  readonly lanes: () => readonly LaneStatus[];
  readonly dataDir: string;
  readonly fs: FileSystem;
  /** Where alerts remember when several processes look after them in turn; undefined: in the data folder. */
  readonly store?: Pick<ObjectStore, "get" | "put"> | undefined;
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
}

/** Changes of one alert: it begins, is acknowledged, ends, and is told again after silences. */
const MOST_CHANGES = 100;

/** What people ask about alerts, which every process answers, and what looks after them, in one process at a time. */
export class Alerting {
  readonly desk: AlertsPort;
  readonly #o: AlertingParts;
  readonly #desk: AlertDesk;
  readonly #silent: SilentStreams;
  #tables: TableAlerts | undefined;
  #unwatch: () => void = () => undefined;

  constructor(parts: AlertingParts) {
    this.#o = parts;
    const { project, flow, log, clock, report } = parts;
    this.#desk = new AlertDesk({
      ...{ alerts: flow.alerts, records: flow.alertRecords, silences: flow.silences, clock, report },
      settled: (kind, name) => kind !== DEFINED || project.alerts.get(name)?.over !== "stream",
      orphaned: (alert) => orphaned(project, alert),
      told: (alert) => this.#told(alert),
      newId: randomUUID,
      ...(parts.store && {
        async silencesChanged() {
          await log.refresh([SILENCE_STREAM]);
          return log.ends(SILENCE_STREAM, 0).end;
        },
      }),
    });
    this.#silent = new SilentStreams({
      ...{ clock, report, lanes: parts.lanes },
      alerts: [...project.alerts.values()].filter((alert): alert is StreamAlert => alert.over === "stream"),
      newestMs: (stream, partition) => newestMs(parts.log, stream, partition),
      open: () => flow.alertRecords.open(),
      end: (alerts) => flow.alerts.end(alerts),
    });
    const desk = this.#desk;
    this.desk = {
      list: (filter, page) => desk.list(filter, page),
      show: (id) => desk.show(id),
      acknowledge: (id, by) => desk.acknowledge(id, by),
      resolve: (id, by) => desk.resolve(id, by),
      silences: () => desk.silences(),
      silence: (given) => desk.silence({ ...given, match: { ...given.match } }),
      endSilence: (id, actor) => desk.endSilence(id, actor),
      clock,
    };
  }

  /**
   * Whether a change may be told to a destination now. Of an alert that is silenced, only those learn that it is acknowledged or over who were told that it
   * fires.
   */
  async shouldDeliver(change: AlertChange, destination: string): Promise<boolean> {
    if ((await this.#desk.silencedUntil(change)) === undefined) return true;
    if (change.state === "firing") return false;
    return (await this.#toldTo(change.alert_id)).has(destination);
  }

  /** Looks after alerts from now on. */
  start(): void {
    const { project, flow, dataDir, fs, store, clock, report } = this.#o;
    // Whoever looked after them before may have changed how they stand.
    flow.alerts.forget();
    const tables = new TableAlerts({
      ...{ clock, report, settled: flow.alerts },
      alerts: [...project.alerts.values()].filter((alert): alert is TableAlert => alert.over === "table"),
      query: (sql, options) => this.#query(sql, options),
      memory: store ? new AlertObjects(store, report) : new AlertFiles(join(dataDir, "alerts"), fs, report),
    });
    this.#tables = tables;
    this.#desk.start();
    this.#silent.start();
    this.#unwatch = flow.lake.onCommit((table) => tables.committed(table));
    tables.start();
  }

  /** Leaves it to others; `start` begins again. */
  async stop(): Promise<void> {
    this.#unwatch();
    await this.#tables?.close();
    await this.#silent.close();
    await this.#desk.close();
  }

  async #told(alert: KnownAlert): Promise<boolean> {
    const to = destinationsOf(this.#o.project, alert);
    const told = await this.#toldTo(alert.id);
    return to.every((destination) => told.has(destination));
  }

  /** Destinations that a firing alert went to, or is on its way to. */
  async #toldTo(alert: string): Promise<Set<string>> {
    const { deliveries } = await this.#o.flow.deliveries.list({ alert }, { limit: MOST_CHANGES });
    const told = deliveries.filter(({ state, status }) => state === "firing" && status !== "silenced");
    return new Set(told.map(({ destination }) => destination));
  }

  async #query(sql: string, { signal, timeoutMs, mostRows }: QueryOptions) {
    const { engine, inspector, catalogue } = this.#o;
    const bound = await bindQuery(sql, [], { engine, inspector, catalogue });
    try {
      const { columns, batches } = await engine.query(bound.statement, { signal, timeoutMs });
      const names = columns.map(({ name }) => name);
      const rows: Record<string, unknown>[] = [];
      for await (const batch of batches) {
        for (const row of batch) rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]])));
        if (rows.length > mostRows) throw new MillraceError("ALERT_ROWS", { most: mostRows });
      }
      return { columns: names, rows };
    } finally {
      bound.release();
    }
  }
}

/**
 * Alerts over streams as the reactor runs them: a lane of its own for each, from what comes after its definition on.
 *
 * @throws REACT_KEY, or OPTION_MISSING for one without a key, when the log has several partitions of the stream, and the alert's key is not in one of them.
 */
export function alertPlans(
  { alerts, streams }: Pick<Project, "alerts" | "streams">,
  partitions: (stream: string) => number,
): readonly OperatorPlan[] {
  return [...alerts.values()].flatMap((alert) => {
    if (alert.over !== "stream") return [];
    const { name, stream, key } = alert;
    const fault = partitions(stream) > 1 ? keyFault(`alert "${name}"`, key, streams.get(stream)!) : undefined;
    if (fault !== undefined) throw fault;
    return alertOperator(alert);
  });
}

/** Names of the destinations of an alert: its own, or those of the configuration. */
export function destinationsOf(
  { alerts, alertRoutes }: Project,
  alert: { readonly kind: string; readonly name: string; readonly key: string; readonly severity: string },
): readonly string[] {
  // That one cannot be asked for concerns those whom it concerns.
  const name = alert.name === ALERT_FAILED ? alert.key : alert.name;
  const own = alert.kind === DEFINED ? (alerts.get(name)?.to ?? []) : [];
  return own.length > 0 ? own : routeOf(alertRoutes, alert);
}

/** Why nobody looks after an alert any more. Those over tables are looked after as long as there is a definition of the name. */
function orphaned({ alerts }: Project, { kind, name, details }: KnownAlert): string | undefined {
  if (kind !== DEFINED || name === ALERT_FAILED) return undefined;
  const definition = alerts.get(name);
  if (definition === undefined) return "its definition is gone";
  const { on, by } = (details ?? {}) as { on?: unknown; by?: unknown };
  const now = definition.over === "stream" ? [definition.stream, definition.key] : [undefined, undefined];
  return JSON.stringify([on, by]) === JSON.stringify(now) ? undefined : "its definition is over something else now";
}

async function newestMs(log: EventLog, stream: string, partition: number): Promise<number | undefined> {
  const { start, end } = log.ends(stream, partition);
  if (end === start) return undefined;
  const run = await log.read(stream, partition, end - 1, 1);
  return run?.spans.at(-1)?.receivedAtMs;
}
