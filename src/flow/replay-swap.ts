/**
 * Puts rows that were built anew in the place of the old ones: one commit per table takes the old files out, the new ones in, and sets
 * progress and counters to what became of the events this time. Rows of events before the replay's first offset stay; where a
 * file holds such rows and others, its rows that stay are written anew.
 */
import type { LocalSql, Relation, RunOptions, SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile, Snapshot } from "../lake/delta-table.ts";
import { pruneFiles } from "../lake/prune.ts";
import type { LakeTables } from "./lake-tables.ts";
import { type Counts, counts } from "./progress.ts";
import type { Build, Built } from "./replay-build.ts";
import type { Firsts } from "./replay-range.ts";
import {
  type EventLetters,
  type Findings,
  isDead,
  type LetterParts,
  readLetters,
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
  /** What stays of files that hold other rows too, by their path. */
  readonly #kept = new Map<string, readonly DataFile[]>();

  constructor(parts: SwapParts, stream: string, firsts: Firsts, one: Built) {
    this.#p = parts;
    this.#stream = stream;
    // What a key has is decided by all of its changes.
    this.#firsts = one.newest ? firsts.map(() => 0) : firsts;
    this.#one = one;
  }

  /** Does beforehand what can be done before the stream's flushes are held back. */
  async prepare(run: RunOptions): Promise<void> {
    await this.#one.newest?.settle(run);
    await this.#keep(this.#one.lakeTable.snapshot, run);
  }

  /** The caller keeps flushes of the stream and retries of dead letters away. */
  async commit(build: Build, settles: Findings["settles"]): Promise<Swapped> {
    const { lake } = this.#p;
    const { lakeTable, table, failed, taken } = this.#one;
    const { unparsed, ends } = build;
    const letters = table === undefined ? [] : await readLetters(this.#p, table);
    const before = lakeTable.snapshot;
    const covers = ({ partition, offset }: { partition: number; offset: number }) =>
      offset >= (this.#firsts[partition] ?? Number.POSITIVE_INFINITY) && offset < (ends[partition] ?? 0);
    const findings = { failed, unparsed, taken, covers, settles };
    const settled = table && (await settleReplayed(this.#p, table, letters, findings));
    const files = this.#one.newest ? await this.#one.newest.files({}) : this.#one.files;
    for (let attempt = 0; attempt < 5; attempt++) {
      const { snapshot } = lakeTable;
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

  /** Leaves to vacuum what was written and not committed. */
  close(): void {
    for (const files of this.#kept.values()) this.#p.lake.forget(this.#one.lakeTable, files);
  }

  /** Files that may hold rows of events that are replayed. */
  #replaced(snapshot: Snapshot): readonly DataFile[] {
    if (this.#firsts.every((first) => first === 0)) return snapshot.files;
    return snapshot.files.filter((file) =>
      this.#firsts.some(
        (first, partition) =>
          first !== undefined &&
          pruneFiles([file], [inPartition(partition), { column: "_offset", op: ">=", value: first }]).length > 0,
      ),
    );
  }

  /** Writes what stays of files that hold rows of both sides, unless that is done. */
  async #keep(snapshot: Snapshot, run: RunOptions): Promise<void> {
    const { lake } = this.#p;
    const { lakeTable } = this.#one;
    for (const file of this.#replaced(snapshot)) {
      if (this.#kept.has(file.path) || !this.#mayHoldOthers(file)) continue;
      const inputs = new Map<string, Relation>([["stored", lake.relation(lakeTable, snapshot, [file])]]);
      const sql = `select * from stored where not (${this.#isReplayed()})`;
      this.#kept.set(file.path, await lake.write(lakeTable, { sql, inputs }, run));
    }
  }

  #mayHoldOthers(file: DataFile): boolean {
    return this.#firsts.some(
      (first, partition) =>
        first !== 0 &&
        pruneFiles(
          [file],
          [
            inPartition(partition),
            ...(first === undefined ? [] : [{ column: "_offset", op: "<", value: first } as const]),
          ],
        ).length > 0,
    );
  }

  #isReplayed(): string {
    const parts = this.#firsts.flatMap((first, partition) =>
      first === undefined ? [] : [`(_partition = ${partition} and _offset >= ${first})`],
    );
    return parts.join(" or ") || "false";
  }

  /** Progress and counters: of the events before the first replayed one as they were, of the others as found. */
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
      const found = this.#one.counts.get(partition) ?? { stored: 0, duplicate: 0, filtered: 0, dead: 0 };
      const kept = first === 0 ? NOTHING : await this.#keptCounts(snapshot, replaced, letters, partition, first, found);
      const stored = kept.stored + found.stored;
      const duplicate = kept.duplicate + found.duplicate;
      const dead = kept.dead + found.dead;
      const name = `millrace:${this.#stream}:${partition}`;
      txn.set(name, end - 1);
      txn.set(`${name}:stored`, stored);
      txn.set(`${name}:duplicate`, duplicate);
      txn.set(`${name}:dead`, dead);
      txn.set(`${name}:filtered`, end - stored - duplicate - dead);
    }
    return txn;
  }

  async #keptCounts(
    snapshot: Snapshot,
    replaced: readonly DataFile[],
    letters: readonly EventLetters[],
    partition: number,
    first: number,
    found: Counts,
  ): Promise<Omit<Counts, "filtered">> {
    if (this.#one.table === undefined) return { stored: first, duplicate: 0, dead: 0 };
    const before = counts(snapshot, this.#stream, partition);
    const dead = letters.filter((letter) => letter.partition === partition && letter.offset < first && isDead(letter));
    // Nothing is decided anew about which event repeats which, so the rest of them lie before.
    const duplicate = before.duplicate - found.duplicate;
    return {
      stored: before.stored - (await this.#storedFrom(replaced, partition, first)),
      duplicate,
      dead: dead.length,
    };
  }

  async #storedFrom(replaced: readonly DataFile[], partition: number, first: number): Promise<number> {
    if (replaced.length === 0) return 0;
    const { lake, engine } = this.#p;
    const { lakeTable } = this.#one;
    const [row] = await selectRows(engine, {
      sql: `select count(distinct _offset) as n from stored where _partition = ${partition} and _offset >= ${first}`,
      inputs: new Map([["stored", lake.relation(lakeTable, lakeTable.snapshot, replaced)]]),
    });
    return Number(row?.["n"]);
  }
}

const NOTHING = { stored: 0, duplicate: 0, dead: 0 };

function inPartition(partition: number) {
  return { column: "_partition", op: "=", value: partition } as const;
}

export function rowCount(snapshot: Pick<Snapshot, "files">): number {
  return snapshot.files.reduce((sum, file) => sum + (file.stats?.rowCount ?? 0), 0);
}
