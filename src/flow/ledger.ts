/**
 * The ledger: for each stream and hop, what became of every event. It is read from the counters that each table commits with its
 * rows and from the ends of the log, so it needs no bookkeeping of its own.
 *
 * At the door: received = accepted + rejected. At every table: accepted = stored + duplicate + filtered + dead_lettered + pending,
 * where pending events are in the log (durable, and visible to queries) and not yet committed to the table. Of a table that is being built
 * from bronze, those it lacks are pending, and no query is answered without them.
 *
 * At every function: accepted = handled (stored) + duplicate + dead_lettered + pending + filtered, where filtered are the events from before it began.
 *
 * Beyond the lake there is the hop `publish`, one for each table that PostgreSQL has as well. It counts rows, not events: those of the
 * version that is published, and how far that one is behind the newest.
 *
 * That the counters are true is the recount's business (`recount/`): how far it got and what it found stand beside them.
 */
import type { AppendTable, Column, Project } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import type { EventLog } from "../log/event-log.ts";
import { DEAD_LETTER_STREAM, DEAD_LETTER_TABLE, isInternal } from "./dead-letters.ts";
import type { LakeTables } from "./lake-tables.ts";
import { committedTo, counts } from "./progress.ts";
import { type Reactions, reactionHops } from "./reactions.ts";
import type { Imbalance } from "./recount/imbalance.ts";
import type { Verified } from "./recount/recount.ts";
import type { VirtualTable } from "./relations.ts";

export interface LedgerEntry {
  readonly stream: string;
  readonly hop: string;
  readonly partition: number;
  readonly accepted: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly filtered: number;
  readonly deadLettered: number;
  readonly pending: number;
  /** False while the counters do not add up or the recount has found the rows, the log or the dead letters to be others. */
  readonly balanced: boolean;
  /** Until where the recount found the hop balanced, and when; undefined while it has not looked since the start. */
  readonly verified: Verified | undefined;
  readonly imbalances: readonly Imbalance[];
  /** Of the hop `publish` alone. */
  readonly publication?: Publication;
}

export interface Publication {
  /** The version that is published; undefined before the first. */
  readonly version: number | undefined;
  readonly versionsBehind: number;
  /** Since the first commit that is not published. */
  readonly behindMs: number;
}

/** A table that is published, with the rows of the published version: all, and those that were left out. */
export interface Published extends Publication {
  readonly table: string;
  readonly stored: number;
  readonly deadLettered: number;
}

/** What the recount knows. */
export interface Recounted {
  verified(hop: string, partition: number): Verified | undefined;
  imbalances(): readonly Imbalance[];
}

/**
 * The hops after the door, each stream's bronze first. `shared`: other processes append and store as well, so that a table may be known to hold
 * what this process has not heard of yet; whether the log has it is the recount's to say.
 */
export function hops(
  project: Project,
  lake: LakeTables,
  log: EventLog,
  recounted: Recounted,
  shared = false,
): LedgerEntry[] {
  const found = Map.groupBy(recounted.imbalances(), ({ hop }) => hop);
  const entries: LedgerEntry[] = [];
  for (const stream of project.streams.keys()) {
    if (isInternal(stream)) continue;
    const tables = [...project.tables.values()].filter(
      (t): t is AppendTable => t.mode === "append" && t.stream === stream,
    );
    for (let partition = 0; partition < log.partitions(stream); partition++) {
      const { end } = log.ends(stream, partition);
      for (const hop of [`bronze.${stream}`, ...tables.map((table) => table.name)]) {
        const held = lake.held(hop);
        if (held && !held.builds) continue; // it counts nothing while it stands still, which readiness says
        const { snapshot } = lake.get(hop);
        const { stored, duplicate, filtered, dead } = counts(snapshot, stream, partition);
        const committed = committedTo(snapshot, stream, partition) + 1;
        const accepted = shared ? Math.max(end, committed) : end;
        const adds = stored + duplicate + filtered + dead === committed && committed <= accepted;
        const imbalances = (found.get(hop) ?? []).filter((one) => (one.partition ?? partition) === partition);
        const pending = accepted - committed;
        entries.push({
          stream,
          hop,
          partition,
          accepted,
          stored,
          duplicate,
          filtered,
          deadLettered: dead,
          pending,
          balanced: adds && imbalances.length === 0,
          verified: recounted.verified(hop, partition),
          imbalances,
        });
      }
    }
  }
  return entries;
}

/** The hops beyond the lake; the rows come from a table, so that its name stands where others have a stream's. */
export function publishHops(published: (() => readonly Published[]) | undefined): LedgerEntry[] {
  return (published?.() ?? []).map(({ table, stored, deadLettered, ...publication }) => ({
    ...{
      stream: table,
      hop: PUBLISH_HOP,
      partition: 0,
      accepted: stored + deadLettered,
      stored,
      deadLettered,
      publication,
    },
    ...{ duplicate: 0, filtered: 0, pending: 0, balanced: true, verified: undefined, imbalances: [] },
  }));
}

export const PUBLISH_HOP = "publish";

const COLUMNS: readonly Column[] = [
  { name: "stream", type: { kind: "string" }, nullable: false },
  { name: "hop", type: { kind: "string" }, nullable: false },
  { name: "partition", type: { kind: "integer" }, nullable: true },
  ...["received", "rejected", "accepted", "stored", "duplicate", "filtered", "dead_lettered", "pending"].map(
    (name): Column => ({ name, type: { kind: "long" }, nullable: true }),
  ),
  { name: "balanced", type: { kind: "boolean" }, nullable: false },
  { name: "verified_to", type: { kind: "long" }, nullable: true },
  { name: "verified_at", type: { kind: "timestamp" }, nullable: true },
  { name: "imbalance", type: { kind: "string" }, nullable: true },
  { name: "published_version", type: { kind: "long" }, nullable: true },
  { name: "versions_behind", type: { kind: "long" }, nullable: true },
  { name: "behind_ms", type: { kind: "long" }, nullable: true },
];

/** `system.ledger`. */
export function ledgerTable(
  project: Project,
  lake: LakeTables,
  log: EventLog,
  recounted: Recounted,
  reactions: Reactions,
  published?: () => readonly Published[],
  shared = false,
): VirtualTable {
  return {
    columns: COLUMNS,
    inputs: [DEAD_LETTER_STREAM],
    ofEverything: true,
    async relation(picture) {
      const streams = [...project.streams.keys()].filter((name) => !isInternal(name));
      const doors = streams.map((stream) => {
        let accepted = 0;
        for (let p = 0; p < log.partitions(stream); p++) accepted += log.ends(stream, p).end;
        return `(${quoteLiteral(stream)}, ${accepted}::bigint)`;
      });
      const all = [
        ...hops(project, lake, log, recounted, shared),
        ...reactionHops(reactions, log),
        ...publishHops(published),
      ];
      const rows = all.map(
        (e) =>
          `(${quoteLiteral(e.stream)}, ${quoteLiteral(e.hop)}, ${e.partition}, null::bigint, null::bigint, ${e.accepted}::bigint,
           ${e.stored}::bigint, ${e.duplicate}::bigint, ${e.filtered}::bigint, ${e.deadLettered}::bigint, ${e.pending}::bigint, ${e.balanced}, ${verifiedSql(e)}, ${imbalanceSql(e)}, ${publicationSql(e)})`,
      );
      const names = COLUMNS.map((column) => `"${column.name}"`).join(", ");
      const sql = `
        select d.stream, 'door' as hop, null::integer as "partition", d.accepted + coalesce(r.rejected, 0) as received,
          coalesce(r.rejected, 0) as rejected, d.accepted, null::bigint as stored, null::bigint as duplicate,
          null::bigint as filtered, null::bigint as dead_lettered, null::bigint as pending, true as balanced,
          null::bigint as verified_to, null::timestamptz as verified_at, null::varchar as imbalance, null::bigint as published_version,
          null::bigint as versions_behind, null::bigint as behind_ms
        from (values ${doors.join(", ") || "('', 0::bigint)"}) d(stream, accepted)
        left join (select stream, count(*) as rejected from dead where stage = 'door' group by stream) r on r.stream = d.stream
        ${rows.length > 0 ? `union all by name select * from (values ${rows.join(", ")}) h(${names})` : ""}`;
      const dead = picture.stored(DEAD_LETTER_TABLE);
      return { kind: "view", statement: { sql, inputs: new Map([["dead", dead]]) } };
    },
  };
}

function verifiedSql({ verified }: LedgerEntry): string {
  if (!verified) return "null::bigint, null::timestamptz";
  return `${verified.to}::bigint, make_timestamptz(${verified.atMs * 1000})`;
}

function publicationSql({ publication }: LedgerEntry): string {
  if (!publication) return "null::bigint, null::bigint, null::bigint";
  const { version, versionsBehind, behindMs } = publication;
  return `${version ?? "null"}::bigint, ${versionsBehind}::bigint, ${Math.round(behindMs)}::bigint`;
}

function imbalanceSql({ imbalances }: LedgerEntry): string {
  return imbalances.length === 0 ? "null::varchar" : quoteLiteral(imbalances.map(({ message }) => message).join("; "));
}
