/**
 * Keeps the copies of tables that functions look rows up in up to date: the whole table when a thread of reactions begins, then what each
 * commit changed. A table that could not be read is told as failed, and read again.
 */
import type { LookupPlan } from "../define/read-lookup.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import type { Relation, SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { Flow } from "../flow/flow.ts";
import type { LookupBlock } from "../react/lookups/lookup-table.ts";

export interface LookupFeedParts {
  readonly flow: Pick<Flow, "lake">;
  readonly engine: SqlEngine;
  readonly plans: readonly LookupPlan[];
  readonly report: (error: unknown, what: string) => void;
  /** Between two attempts to read a table. Milliseconds, default 5000. */
  readonly retryMs?: number;
}

/** Takes a block of one look-up; the thread behind it may have gone. */
export type Tell = (plan: LookupPlan, block: LookupBlock) => void;

const RETRY_MS = 5_000;

export class LookupFeed {
  readonly #copies: readonly Copy[];
  readonly #unwatch: () => void;

  constructor(parts: LookupFeedParts) {
    this.#copies = parts.plans.map((plan) => new Copy(plan, parts));
    this.#unwatch = parts.flow.lake.onCommit((table) => {
      for (const copy of this.#copies) if (copy.plan.table === table) copy.changed();
    });
  }

  /** Tells a new thread all there is, and from then on every change. Resolves when all has been told once, or has failed. */
  readonly begin = async (tell: Tell): Promise<void> => {
    await Promise.all(this.#copies.map((copy) => copy.begin((block) => tell(copy.plan, block))));
  };

  async close(): Promise<void> {
    this.#unwatch();
    await Promise.all(this.#copies.map((copy) => copy.close()));
  }
}

/** The copy of one look-up that a thread has. */
class Copy {
  readonly plan: LookupPlan;
  readonly #o: LookupFeedParts;
  #tell: ((block: LookupBlock) => void) | undefined;
  /** Version the thread has been told of; undefined: nothing that it could go on from. */
  #told: number | undefined;
  #working: Promise<void> | undefined;
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(plan: LookupPlan, parts: LookupFeedParts) {
    this.plan = plan;
    this.#o = parts;
  }

  async begin(tell: (block: LookupBlock) => void): Promise<void> {
    // What is still being told goes to the thread before, and must not count as told to this one.
    while (this.#working !== undefined) await this.#working;
    this.#tell = tell;
    this.#told = undefined;
    this.changed();
    await this.#working;
  }

  /** Commits that come while one is being told are told together. */
  changed(): void {
    if (this.#tell === undefined || this.#closed) return;
    this.#again = true;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
      if (this.#again) this.changed(); // it came behind the last look
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#working;
  }

  async #work(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      const tell = this.#tell as (block: LookupBlock) => void;
      try {
        await this.#bring(tell);
      } catch (error) {
        if (this.#closed) return;
        this.#told = undefined;
        const { table } = this.plan;
        tell({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
        this.#o.report(error, `reading ${table} for look-ups`);
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.changed(), this.#o.retryMs ?? RETRY_MS).unref();
        return;
      }
    }
  }

  async #bring(tell: (block: LookupBlock) => void): Promise<void> {
    const { flow } = this.#o;
    const { table: name, maxRows } = this.plan;
    flow.lake.check(name);
    const table = flow.lake.get(name);
    const { snapshot } = table;
    if (this.#told === snapshot.version) return;
    const count = snapshot.files.reduce((sum, { stats }) => sum + (stats?.rowCount ?? 0), 0);
    if (count > maxRows) {
      const reason = `it has ${count} rows, and maxRows is ${maxRows}`;
      throw new MillraceError("LOOKUP_UNAVAILABLE", { table: name, reason });
    }
    const changes = this.#told === undefined ? undefined : await table.delta.changes(this.#told, snapshot.version);
    const read = (files: typeof snapshot.files, kind: "rows" | "removed") =>
      files.length === 0 ? undefined : this.#rows(flow.lake.relation(table, snapshot, files), kind, tell);
    if (changes === undefined) {
      tell({ kind: "begin" });
      await read(snapshot.files, "rows");
    } else {
      // A file that came and went again is in both lists, and nobody has to hear of it.
      await read(without(changes.removed, changes.added), "removed");
      await read(without(changes.added, changes.removed), "rows");
    }
    tell({ kind: "settled", version: snapshot.version });
    this.#told = snapshot.version;
  }

  async #rows(relation: Relation, kind: "rows" | "removed", tell: (block: LookupBlock) => void): Promise<void> {
    const { key, asOf, columns } = this.plan;
    const list = [key, asOf, ...columns].map((column) => (column === undefined ? "null" : quoteIdentifier(column)));
    const result = await this.#o.engine.query({
      sql: `select ${list.join(", ")} from looked_up`,
      inputs: new Map([["looked_up", relation]]),
    });
    for await (const rows of result.batches) tell({ kind, rows });
  }
}

function without<File extends { readonly path: string }>(files: readonly File[], others: readonly File[]): File[] {
  const gone = new Set(others.map(({ path }) => path));
  return files.filter(({ path }) => !gone.has(path));
}
