import type { Registry } from "prom-client";
import { type ResolvedSettings, showSettings } from "../config/settings.ts";
import type { Project } from "../define/project.ts";
import { isInternal } from "../flow/dead-letters.ts";
import type { Flow } from "../flow/flow.ts";
import type { LedgerEntry } from "../flow/ledger.ts";
import type { Readiness } from "../gateway/health-routes.ts";
import type { EventLog } from "../log/event-log.ts";
import type {
  Administration,
  FunctionStatus,
  LedgerHop,
  PlatformStatus,
  StreamStatus,
  TableStatus,
} from "../serve/admin-route.ts";
import type { FunctionView } from "../serve/functions-route.ts";
import type { PublicationState, Publisher } from "../serve/publisher.ts";
import type { ApiKeys } from "../state/api-keys.ts";
import type { Reacting } from "./reactions.ts";
import { keysForStreams } from "./write-keys.ts";

export interface AdministrationParts {
  readonly flow: Flow;
  readonly log: EventLog;
  readonly keys: ApiKeys;
  readonly publisher: Publisher;
  readonly reacting: Reacting;
  readonly resolved: ResolvedSettings;
  readonly registry: Registry;
  readonly ready: () => Promise<Readiness>;
  readonly version: string;
  readonly startedAtMs: number;
}

/** What an administrator sees and does, from the parts that know it. */
export function administration(parts: AdministrationParts): Administration {
  const { flow, keys, resolved } = parts;
  const perSecond = rateMeter();
  return {
    keys: keysForStreams(keys, flow.project.streams),
    config: () => showSettings(resolved),
    status: (hops) => status(parts, perSecond, hops ?? mergePartitions(flow.ledger())),
    ledger: async () => {
      await flow.fresh();
      const hops = mergePartitions(flow.ledger());
      const imbalances = flow.imbalances().map(({ sinceMs, stream = null, partition = null, ...imbalance }) => {
        const { from = null, to = null, expected = null, found = null, file = null } = imbalance;
        const { what, hop, ranges, message } = imbalance;
        const since = new Date(sinceMs).toISOString();
        return { what, stream, hop, partition, from, to, ranges, expected, found, file, message, since };
      });
      return { balanced: imbalances.length === 0 && hops.every((hop) => hop.balanced), hops, imbalances };
    },
    refresh: (table, options) => flow.refresh(table, options),
    replay: (table, request, options) => flow.replay(table, request, options),
  };
}

async function status(
  parts: AdministrationParts,
  perSecond: (accepted: number) => number,
  hops: readonly LedgerHop[],
): Promise<PlatformStatus> {
  const { flow, registry, startedAtMs } = parts;
  const { ready, checks } = await parts.ready();
  const accepted = await countByStream(registry, "millrace_door_events_accepted_total");
  const rejected = await countByStream(registry, "millrace_door_events_rejected_total");
  const uptimeMs = Date.now() - startedAtMs;
  const acceptedNow = sum(accepted.values());
  return {
    project: flow.project.name,
    version: parts.version,
    startedAtMs,
    uptimeMs,
    ready,
    problems: Object.entries(checks).flatMap(([name, { ok, message }]) =>
      ok && message === undefined ? [] : [`${name}: ${message ?? "failed"}`],
    ),
    residentBytes: process.memoryUsage.rss(),
    door: {
      accepted: acceptedNow,
      rejected: sum(rejected.values()),
      eventsPerSecond: perSecond(acceptedNow),
    },
    streams: streams(flow, rejected, hops),
    tables: tables(flow, parts.publisher),
    functions: parts.reacting.functions().map(functionStatus),
  };
}

function functionStatus({ name, stream, partitions }: FunctionView): FunctionStatus {
  const total = (count: "handled" | "deadLettered" | "emitted" | "pending") => sum(partitions.map((one) => one[count]));
  const problem = partitions.find((one) => one.problem !== null)?.problem ?? null;
  return {
    ...{ name, stream, handled: total("handled"), deadLettered: total("deadLettered") },
    ...{ emitted: total("emitted"), pending: total("pending"), problem },
  };
}

function streams(flow: Flow, rejected: ReadonlyMap<string, number>, ledger: readonly LedgerHop[]): StreamStatus[] {
  return [...flow.project.streams.keys()]
    .filter((name) => !isInternal(name))
    .map((name) => {
      const bronze = ledger.find((hop) => hop.hop === `bronze.${name}`);
      const silver = ledger.find((hop) => hop.stream === name && hop.hop !== `bronze.${name}`);
      return {
        name,
        accepted: bronze?.accepted ?? 0,
        duplicates: silver?.duplicate ?? 0,
        rejected: rejected.get(name) ?? 0,
        pending: bronze?.pending ?? 0,
      };
    });
}

function tables(flow: Flow, publisher: Publisher): TableStatus[] {
  const publications = new Map(publisher.states().map((state) => [state.table, state]));
  return flow.lake.names().flatMap((name) => {
    const { definition, snapshot } = flow.lake.get(name);
    if (definition === undefined || name.startsWith("system.")) return [];
    const written = snapshot.files.length > 0 || snapshot.version > 0;
    return {
      name,
      mode: definition.mode === "append" && definition.key.length > 0 ? "upsert" : definition.mode,
      streams: streamsBehind(flow.project, name),
      rows: sum(snapshot.files.map((file) => file.stats?.rowCount ?? 0)),
      files: snapshot.files.length,
      bytes: sum(snapshot.files.map((file) => file.sizeBytes)),
      version: snapshot.version,
      committedAtMs: written ? snapshot.timestampMs : null,
      published: publicationStatus(publications.get(name)),
    };
  });
}

function publicationStatus(state: PublicationState | undefined): TableStatus["published"] {
  if (state === undefined) return null;
  const { published: record, versionsBehind, behindMs, failure = null } = state;
  const counts = { version: record?.version ?? null, rows: record?.rows ?? 0, refused: record?.refused ?? 0 };
  return { ...counts, versionsBehind, behindMs, failure };
}

/** The streams whose events reach a table. */
function streamsBehind(project: Project, name: string): string[] {
  const table = project.tables.get(name);
  if (table === undefined) return project.streams.has(name) ? [name] : [];
  if (table.mode === "append") return [table.stream];
  return [...new Set(table.inputs.flatMap((input) => streamsBehind(project, input)))];
}

/** Tells events per second between two looks that are at least a second apart. */
function rateMeter(): (accepted: number) => number {
  let at = performance.now();
  let before = 0;
  let rate = 0;
  return (accepted) => {
    const elapsedMs = performance.now() - at;
    if (elapsedMs < 1000) return rate;
    rate = Math.round(((accepted - before) * 1000) / elapsedMs);
    at += elapsedMs;
    before = accepted;
    return rate;
  };
}

async function countByStream(registry: Registry, metric: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const { values = [] } = (await registry.getSingleMetric(metric)?.get()) ?? {};
  for (const { labels, value } of values) {
    const stream = String(labels["stream"]);
    counts.set(stream, (counts.get(stream) ?? 0) + value);
  }
  return counts;
}

/** One line per stream and hop, whatever the number of partitions. */
function mergePartitions(entries: readonly LedgerEntry[]): LedgerHop[] {
  const merged = new Map<string, LedgerHop>();
  for (const entry of entries) {
    const name = `${entry.stream}/${entry.hop}`;
    const other = merged.get(name);
    const { partition: _, verified, imbalances: __, publication, ...counts } = entry;
    const verifiedAt = verified === undefined ? null : new Date(verified.atMs).toISOString();
    const publishedAs = publication && { ...publication, version: publication.version ?? null };
    const hop: LedgerHop = {
      ...{ ...counts, verified: verified === undefined ? 0 : verified.to + 1, verifiedAt },
      ...(publishedAs && { publication: publishedAs }),
    };
    if (!other) merged.set(name, hop);
    else {
      const add = (
        count: "accepted" | "stored" | "duplicate" | "filtered" | "deadLettered" | "pending" | "verified",
      ): number => other[count] + hop[count];
      merged.set(name, {
        stream: entry.stream,
        hop: entry.hop,
        accepted: add("accepted"),
        stored: add("stored"),
        duplicate: add("duplicate"),
        filtered: add("filtered"),
        deadLettered: add("deadLettered"),
        pending: add("pending"),
        balanced: other.balanced && entry.balanced,
        verified: add("verified"),
        // A hop is as well verified as its partition that was looked at longest ago.
        verifiedAt: [other.verifiedAt, verifiedAt].includes(null)
          ? null
          : ([other.verifiedAt, verifiedAt].toSorted()[0] ?? null),
      });
    }
  }
  return [...merged.values()];
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
