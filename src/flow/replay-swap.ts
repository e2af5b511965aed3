/**
 * Puts rows that were built anew in the place of the old ones: one commit per table takes the old files out, the new ones in, and sets
 * the counters to what became of the events this time. Rows of events before the replay's first offset stay, and so do those
 * of events that were stored while it ran: the definition that stored them is the one that runs. Where a file holds rows that
 * stay and others, those that stay are written anew.
 */
import type { LocalSql, Relation, RunOptions, SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile, Snapshot } from "../lake/delta-table.ts";
import { pruneFiles } from "../lake/prune.ts";
import { giveWay, MOST_ATTEMPTS } from "./give-way.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";
import { type Counts, committedTo, counts } from "./progress.ts";
import type { Build, Built } from "./replay-build.ts";
import type { Firsts } from "./replay-range.ts";
import {
  type EventLetters,
  type Findings,
  isDead,
  type LetterParts,
  readLetters,
  type Settlement,
  settleReplayed,
} from "./replayed-letters.ts";
import { selectRows } from "./select-rows.ts";

export interface SwapParts extends LetterParts {
  readonly lake: LakeTables;
  readonly engine: SqlEngine & { readonly local: LocalSql };
}

export interface Swapped {
  readonly table: string;
  readonly fromVersion: number;
  readonly toVersion: number;
  readonly rowsBefore: number;
  readonly rowsAfter: number;
  /** Dead letters that are open now and were not, or were not there. */
  readonly lettersOpened: number;
  /** Dead letters of events that the table takes now, or has no row for. */
  readonly lettersClosed: number;
}

export class Swap {
  readonly #p: SwapParts;
  readonly #stream: string;
  readonly #firsts: Firsts;
  readonly #one: Built;
  /** By partition the table's counters when the replay began; undefined when it catches up with the flow before the swap. */
  readonly #before: readonly Counts[] | undefined;
  readonly #ends: () => readonly (number | undefined)[];
  #settled: Settled | undefined;
  /** What stays of files that hold other rows too, by their path. */
  readonly #kept = new Map<string, readonly DataFile[]>();

  /** `state`: the table when the replay began, if events that are stored from then on are left as they are. */
  constructor(parts: SwapParts, stream: string, firsts: Firsts, one: Built, build: Build, state?: Snapshot) {
    this.#p = parts;
    this.#stream = stream;
    // What a key has is decided by all of its changes.
    this.#firsts = one.newest ? firsts.map(() => 0) : firsts;
    this.#one = one;
    this.#ends = () => build.ends;
    this.#before = state && firsts.map((_, partition) => counts(state, stream, partition));
  }

  get table(): LakeTable {
    return this.#one.lakeTable;
  }

  /** Does beforehand what can be done before the stream's flushes are held back. */
  async prepare(run: RunOptions): Promise<void> {
    await this.#one.newest?.settle(run);
    await this.#keep(this.#one.lakeTable.snapshot, run);
  }

  /**
   * The caller keeps retries of dead letters away, and flushes of this process. Those of others may come in between: `behind` then means that
   * the table has taken events that the build has not, and `retried` that a retry got into it all the same; nothing has changed.
   */
  async commit(
    build: Build,
    settles: Findings["settles"],
    isRetried: () => boolean,
  ): Promise<Swapped | "behind" | "retried"> {
    const { lake } = this.#p;
    const { lakeTable } = this.#one;
    const before = lakeTable.snapshot;
    const { settled, letters } = await this.#settle(build, settles);
    const files = this.#one.newest ? await this.#one.newest.files({}) : this.#one.files;
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      await giveWay(attempt);
      const ends = this.#ends();
      const { snapshot } = lakeTable;
      if (isRetried()) {
        await settled?.abandon();
        return "retried";
      }
      if (this.#one.newest && this.#isBehind(snapshot, ends)) return "behind";
      await this.#keep(snapshot, {});
      const replaced = this.#replaced(snapshot);
      const kept = replaced.flatMap((file) => this.#kept.get(file.path) ?? []);
      const txn = new Map(settled?.txn);
      for (const [name, value] of await this.#progress(snapshot, replaced, letters, ends)) txn.set(name, value);
      const result = await lake.commit(lakeTable, {
        operation: "REPLAY",
        readVersion: snapshot.version,
        add: [...files, ...kept],
        remove: replaced.map((file) => file.path),
        txn,
        info: { millrace: { replay: this.#stream, from: this.#firsts.map((first) => first ?? null), to: ends } },
      });
      if (result.kind !== "committed") continue;
      await settled?.finish();
      return {
        table: lakeTable.name,
        fromVersion: before.version,
        toVersion: result.version,
        rowsBefore: rowCount(before),
        rowsAfter: rowCount(lakeTable.snapshot),
        lettersOpened: settled?.opened ?? 0,
        lettersClosed: settled?.closed ?? 0,
      };
    }
    throw new MillraceError("COMMIT_CONFLICT", { table: lakeTable.name });
  }

  /** Once, whatever comes in between: letters of later events are written by who stores them. */
  async #settle(build: Build, settles: Findings["settles"]): Promise<Settled> {
    if (this.#settled) return this.#settled;
    const { table, failed, taken } = this.#one;
    const { unparsed } = build;
    const ends = this.#ends();
    const letters = table === undefined ? [] : await readLetters(this.#p, table);
    const covers = ({ partition, offset }: { partition: number; offset: number }) => {
      const first = this.#firsts[partition];
      return first !== undefined && offset >= first && offset < (ends[partition] ?? 0);
    };
    const findings = { failed, unparsed, taken, covers, settles };
    this.#settled = { letters, settled: table && (await settleReplayed(this.#p, table, letters, findings)) };
    return this.#settled;
  }

  /** Rows of events that the build does not have could not be told from those that it replaces. */
  #isBehind(snapshot: Snapshot, ends: readonly (number | undefined)[]): boolean {
    return this.#firsts.some(
      (_, partition) => committedTo(snapshot, this.#stream, partition) >= (ends[partition] ?? 0),
    );
  }

  /** Leaves to vacuum what was written and not committed. */
  close(): void {
    for (const files of this.#kept.values()) this.#p.lake.forget(this.#one.lakeTable, files);
  }

  /** Files that may hold rows of events that are replayed. */
  #replaced(snapshot: Snapshot): readonly DataFile[] {
    return snapshot.files.filter((file) => this.#ranges().some((range) => mayHold(file, range)));
  }

  /** Writes what stays of files that hold rows of both sides, unless that is done. */
  async #keep(snapshot: Snapshot, run: RunOptions): Promise<void> {
    const { lake } = this.#p;
    const { lakeTable } = this.#one;
    for (const file of this.#replaced(snapshot)) {
      if (this.#kept.has(file.path) || !this.#others().some((range) => mayHold(file, range))) continue;
      const inputs = new Map<string, Relation>([["stored", lake.relation(lakeTable, snapshot, [file])]]);
      const replayed = this.#ranges().map(rangeSql).join(" or ");
      this.#kept.set(
        file.path,
        await lake.write(lakeTable, { sql: `select * from stored where not (${replayed})`, inputs }, run),
      );
    }
  }

  /** Events that are replayed. */
  #ranges(): Range[] {
    const ends = this.#ends();
    return this.#firsts.flatMap((first, partition) =>
      first === undefined ? [] : [{ partition, from: first, to: (ends[partition] ?? 0) - 1 }],
    );
  }

  /** Events of which rows may stay. */
  #others(): Range[] {
    const ends = this.#ends();
    return this.#firsts.flatMap((first, partition) =>
      first === undefined
        ? [{ partition, from: 0, to: Number.MAX_SAFE_INTEGER }]
        : [
            { partition, from: 0, to: first - 1 },
            { partition, from: ends[partition] ?? 0, to: Number.MAX_SAFE_INTEGER },
          ].filter(({ from, to }) => from <= to),
    );
  }

  /** Progress and counters: of the events that are not replayed as they were, of the others as found. */
  async #progress(
    snapshot: Snapshot,
    replaced: readonly DataFile[],
    letters: readonly EventLetters[],
    ends: readonly (number | undefined)[],
  ): Promise<Map<string, number>> {
    const txn = new Map<string, number>();
    for (const [partition, first] of this.#firsts.entries()) {
      const end = ends[partition];
      if (first === undefined || end === undefined) continue;
      const found = this.#one.counts.get(partition) ?? NOTHING;
      const earlier = first === 0 ? NOTHING : await this.#earlier(snapshot, replaced, letters, partition, first, found);
      const later = this.#later(snapshot, partition);
      const to = Math.max(end - 1, committedTo(snapshot, this.#stream, partition));
      const sum = (count: "stored" | "duplicate" | "dead") => earlier[count] + found[count] + later[count];
      const name = `millrace:${this.#stream}:${partition}`;
      txn.set(name, to);
      txn.set(`${name}:stored`, sum("stored"));
      txn.set(`${name}:duplicate`, sum("duplicate"));
      txn.set(`${name}:dead`, sum("dead"));
      txn.set(`${name}:filtered`, to + 1 - sum("stored") - sum("duplicate") - sum("dead"));
    }
    return txn;
  }

  /** What became of the events before the first one that is replayed. */
  async #earlier(
    snapshot: Snapshot,
    replaced: readonly DataFile[],
    letters: readonly EventLetters[],
    partition: number,
    first: number,
    found: Fates,
  ): Promise<Fates> {
    if (this.#one.table === undefined) return { stored: first, duplicate: 0, dead: 0 };
    const before = this.#before?.[partition] ?? counts(snapshot, this.#stream, partition);
    const dead = letters.filter((letter) => letter.partition === partition && letter.offset < first && isDead(letter));
    // Nothing is decided anew about which event repeats which, so the rest of them lie before.
    const duplicate = before.duplicate - found.duplicate;
    return { stored: before.stored - (await this.#storedWithin(replaced, partition)), duplicate, dead: dead.length };
  }

  /** What became of the events that were stored while the replay ran. */
  #later(snapshot: Snapshot, partition: number): Fates {
    const before = this.#before?.[partition];
    if (before === undefined) return NOTHING;
    const now = counts(snapshot, this.#stream, partition);
    return {
      stored: now.stored - before.stored,
      duplicate: now.duplicate - before.duplicate,
      dead: now.dead - before.dead,
    };
  }

  async #storedWithin(replaced: readonly DataFile[], partition: number): Promise<number> {
    const range = this.#ranges().find((one) => one.partition === partition);
    if (replaced.length === 0 || range === undefined) return 0;
    const { lake, engine } = this.#p;
    const { lakeTable } = this.#one;
    const [row] = await selectRows(engine, {
      sql: `select count(distinct _offset) as n from stored where ${rangeSql(range)}`,
      inputs: new Map([["stored", lake.relation(lakeTable, lakeTable.snapshot, replaced)]]),
    });
    return Number(row?.["n"]);
  }
}

/** The dead letters on the way to the table, and what becomes of them with the swap; bronze has none. */
interface Settled {
  readonly letters: readonly EventLetters[];
  readonly settled: Settlement | undefined;
}

type Fates = Omit<Counts, "filtered">;

/** Events of a partition, both ends inclusive. */
interface Range {
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

function mayHold(file: DataFile, { partition, from, to }: Range): boolean {
  const within = [
    { column: "_partition", op: "=", value: partition },
    { column: "_offset", op: ">=", value: from },
    { column: "_offset", op: "<=", value: to },
  ] as const;
  return pruneFiles([file], within).length > 0;
}

function rangeSql({ partition, from, to }: Range): string {
  return `(_partition = ${partition} and _offset between ${from} and ${to})`;
}

const NOTHING: Fates = { stored: 0, duplicate: 0, dead: 0 };

export function rowCount(snapshot: Pick<Snapshot, "files">): number {
  return snapshot.files.reduce((sum, file) => sum + (file.stats?.rowCount ?? 0), 0);
}
