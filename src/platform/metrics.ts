import { Gauge, type Registry } from "prom-client";
import type { Flow } from "../flow/flow.ts";
import type { LedgerEntry } from "../flow/ledger.ts";
import { FLOW_GROUP } from "../flow/sharing.ts";
import type { S3Store } from "../lake/s3/open-s3-store.ts";
import type { DestinationView } from "../react/deliver/delivery.ts";
import type { LaneStatus } from "../react/reactor-options.ts";
import type { PublicationState, Publisher } from "../serve/publisher.ts";
import type { Cluster } from "./cluster.ts";
import type { Delivering } from "./delivering.ts";
import { commitDurations } from "./latencies.ts";
import type { Pipeline } from "./pipeline.ts";
import { REACT_GROUP } from "./react-peers.ts";
import { sourceMetrics } from "./sources.ts";

/** Every figure of what is behind the log. */
export function pipelineMetrics(
  registry: Registry,
  pipeline: Omit<Pipeline, "begin">,
  cluster: Pick<Cluster, "owns">,
  clock: () => number,
): void {
  const { flow, publisher, reacting, delivery, sources } = pipeline;
  flowMetrics(registry, flow, clock);
  publishMetrics(registry, publisher);
  reactionMetrics(registry, () => reacting.ownLanes());
  deliveryMetrics(registry, delivery, clock);
  sourceMetrics(registry, () => sources.statuses());
  lagMetric(registry, pipeline, cluster);
  commitDurations(registry, flow);
  if (pipeline.lakeStore.remote !== undefined) storeMetrics(registry, pipeline.lakeStore.remote);
}

/** How far this process is behind with what is its own: the sum over all processes is what waits to be done. */
function lagMetric(
  registry: Registry,
  { flow, reacting }: Pick<Pipeline, "flow" | "reacting">,
  { owns }: Pick<Cluster, "owns">,
): void {
  new Gauge({
    name: "millrace_consumer_lag_events",
    help: "Acknowledged events of this process's partitions that are not stored (flow) or reacted to (react) yet.",
    labelNames: ["consumer", "stream", "partition"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { stream, hop, partition, pending } of flow.ledger())
        if (hop === `bronze.${stream}` && owns(FLOW_GROUP, stream, partition))
          this.set({ consumer: FLOW_GROUP, stream, partition: String(partition) }, pending);
      const lanes = Map.groupBy(reacting.ownLanes(), ({ stream, partition }) => `${stream}/${partition}`);
      for (const own of lanes.values()) {
        const { stream, partition } = own[0]!;
        const slowest = Math.max(...own.map(({ pending }) => pending));
        this.set({ consumer: REACT_GROUP, stream, partition: String(partition) }, slowest);
      }
    },
  });
}

/** What the bucket is asked for, since requests cost money and time. */
function storeMetrics(registry: Registry, store: S3Store): void {
  new Gauge({
    name: "millrace_store_requests_total",
    help: "Requests to the bucket since the start, failed attempts included.",
    labelNames: ["operation"],
    registers: [registry],
    collect() {
      for (const [operation, count] of store.counts.requests) this.set({ operation }, count);
    },
  });
  const figure = (name: string, help: string, value: () => number) =>
    new Gauge({
      name: `millrace_store_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  figure("fetched_files_total", "Data files copied from the bucket since the start.", () => store.counts.fetched.files);
  figure("fetched_bytes_total", "Bytes of them.", () => store.counts.fetched.bytes);
  figure("copies_bytes", "Bytes of local copies of data files.", () => store.counts.copiesBytes);
}

/** The ledger and the tables' size as metrics; read when they are scraped. */
export function flowMetrics(registry: Registry, flow: Flow, clock: () => number): void {
  const hop = (name: string, help: string, value: (entry: LedgerEntry) => number) =>
    new Gauge({
      name: `millrace_hop_${name}`,
      help,
      labelNames: ["stream", "hop", "partition"],
      registers: [registry],
      collect() {
        this.reset();
        for (const entry of flow.ledger()) {
          const { stream, hop: table, partition } = entry;
          this.set({ stream, hop: table, partition: String(partition) }, value(entry));
        }
      },
    });
  hop("stored_events", "Events a table has stored.", (entry) => entry.stored);
  hop("duplicate_events", "Events that were second arrivals.", (entry) => entry.duplicate);
  hop("filtered_events", "Events a table's SQL gave no row for.", (entry) => entry.filtered);
  hop("dead_lettered_events", "Events that were dead-lettered on the way to a table.", (entry) => entry.deadLettered);
  hop("pending_events", "Events in the log and not yet committed to a table.", (entry) => entry.pending);
  hop("balanced", "1 while every event of the hop is accounted for.", (entry) => (entry.balanced ? 1 : 0));
  hop(
    "verified_events",
    "Events the recount has compared with what is stored.",
    (entry) => (entry.verified?.to ?? -1) + 1,
  );
  const figure = (name: string, help: string, value: () => number) =>
    new Gauge({
      name: `millrace_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  figure("ledger_imbalances", "Places that do not balance.", () => flow.imbalances().length);
  figure("recount_files_total", "Data files counted since the start.", () => flow.recounted().files);
  figure("recount_waiting_files", "Data files not counted yet.", () => flow.recounted().waiting);
  figure("recount_seconds_total", "Time spent counting since the start.", () => flow.recounted().seconds);
  new Gauge({
    name: "millrace_alerts_firing",
    help: "Alerts that fire now, acknowledged or not.",
    labelNames: ["kind", "name"],
    registers: [registry],
    async collect() {
      // What cannot be read now is no zero: it keeps the figures of the last time, and the metrics their other ones.
      const open = await flow.alertRecords.open().catch(() => undefined);
      if (open === undefined) return;
      this.reset();
      for (const { kind, name } of open) this.inc({ kind, name });
    },
  });
  new Gauge({
    name: "millrace_table_overdue_seconds",
    help: "By how much a table with a freshness has gone longer than that without new rows; 0 while it has not.",
    labelNames: ["table"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name, freshnessMs } of flow.project.tables.values()) {
        if (freshnessMs === undefined || !flow.lake.has(name)) continue;
        const { timestampMs } = flow.lake.get(name).snapshot;
        this.set({ table: name }, Math.max(0, clock() - timestampMs - freshnessMs) / 1000);
      }
    },
  });
  new Gauge({
    name: "millrace_table_files",
    help: "Data files of a table.",
    labelNames: ["table"],
    registers: [registry],
    collect() {
      this.reset();
      for (const table of flow.lake.names()) this.set({ table }, flow.lake.get(table).snapshot.files.length);
    },
  });
}

/** How far PostgreSQL is with the tables that are published to it. */
export function publishMetrics(registry: Registry, publisher: Publisher): void {
  const figure = (name: string, help: string, value: (state: PublicationState) => number) =>
    new Gauge({
      name: `millrace_publish_${name}`,
      help,
      labelNames: ["table"],
      registers: [registry],
      collect() {
        this.reset();
        for (const state of publisher.states()) this.set({ table: state.table }, value(state));
      },
    });
  figure("rows", "Rows of the published version.", (state) => state.published?.rows ?? 0);
  figure(
    "refused_rows",
    "Rows of the published version that PostgreSQL refused.",
    (state) => state.published?.refused ?? 0,
  );
  figure("versions_behind", "Versions of the table that PostgreSQL does not have.", (state) => state.versionsBehind);
  figure("lag_seconds", "Time since the first commit that PostgreSQL does not have.", (state) => state.behindMs / 1000);
  figure("failing", "1 while the last attempt to publish failed.", (state) => (state.failure === undefined ? 0 : 1));
  figure("publications_total", "Publications since the start.", (state) => state.publications);
  figure("written_rows_total", "Rows written or removed in PostgreSQL since the start.", (state) => state.writtenRows);
}

/** How far what reacts to events is behind the log, by operator. */
export function reactionMetrics(registry: Registry, lanes: () => readonly LaneStatus[]): void {
  const figure = (name: string, help: string, value: (lane: LaneStatus) => number) =>
    new Gauge({
      name: `millrace_reaction_${name}`,
      help,
      labelNames: ["operator", "stream", "partition"],
      registers: [registry],
      collect() {
        this.reset();
        for (const lane of lanes()) {
          const { operators, stream, partition } = lane;
          for (const operator of operators) this.set({ operator, stream, partition: String(partition) }, value(lane));
        }
      },
    });
  figure("lag_events", "Acknowledged events that are not handled yet.", (lane) => lane.pending);
  figure("handled_events", "Events handled since it began.", (lane) => lane.handled);
  figure("dead_lettered_events", "Events it could not take.", (lane) => lane.dead);
  figure("emitted_events", "Events emitted since it began.", (lane) => lane.emitted);
  figure("state_entries", "Keys that are remembered.", (lane) => lane.stateEntries);
  figure("state_bytes", "Memory of what is remembered.", (lane) => lane.stateBytes);
  figure("restarts_total", "Times it was begun again from its checkpoint since the start.", (lane) => lane.restarts);
  figure("failing", "1 while it stands still.", (lane) => (lane.problem === undefined ? 0 : 1));
}

/** How changes of alerts get on with their destinations. */
export function deliveryMetrics(registry: Registry, delivery: Pick<Delivering, "own">, clock: () => number): void {
  const figure = (name: string, help: string, value: (view: DestinationView) => number) =>
    new Gauge({
      name: `millrace_delivery_${name}`,
      help,
      labelNames: ["destination"],
      registers: [registry],
      collect() {
        this.reset();
        for (const view of delivery.own()) this.set({ destination: view.name }, value(view));
      },
    });
  const ageS = (at: string | null) => (at === null ? 0 : Math.max(clock() - Date.parse(at), 0) / 1000);
  figure("waiting", "Changes of alerts on their way to the destination.", (view) => view.waiting);
  figure("lag_seconds", "Time that the oldest of them has waited.", (view) => ageS(view.oldestWaiting));
  figure("failing", "1 while the last attempt failed.", (view) => (view.status === "up" ? 0 : 1));
  figure("delivered_total", "Changes delivered since the start.", (view) => view.delivered);
  figure("failed_attempts_total", "Attempts that failed since the start.", (view) => view.failedAttempts);
  figure("dead_letters_total", "Changes that became dead letters since the start.", (view) => view.deadLettered);
}
