/**
 * Tables that combine rows. They are recomputed after their inputs commit; between two refreshes a query gets the stored
 * rows with what has changed since worked in, by the same plan, so that it is never behind.
 *
 * A plan says how little must be computed: nothing, the touched values of `by`, or everything. The law is that the outcome equals a
 * full recompute; a table whose `by` turns out not to divide its rows is recomputed in full from then on.
 *
 * Where the SQL fails on the data, the values of `by` it fails for keep the rows they have and every other value is refreshed; without
 * `by` the whole table stays as it is. Either is a dead letter of stage `refresh`, tried again when its rows or the definition
 * change, and a query that needs such rows ends with an error: it never gets old rows for current ones.
 */
import type { Logger } from "pino";
import { didYouMean } from "../define/nearest.ts";
import type { Project, RefreshTable } from "../define/project.ts";
import type { LocalSql, Relation, RunOptions, SqlEngine, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile } from "../lake/delta-table.ts";
import type { ChooseEngine } from "./choose-engine.ts";
import {
  FAILING,
  type FailingValue,
  failingValues,
  refusedRows,
  separate,
  valueObject,
  valueText,
  without,
} from "./failing-values.ts";
import { giveWay } from "./give-way.ts";
import { isAboutData } from "./insert-events.ts";
import { definitionHash, type LakeTables } from "./lake-tables.ts";
import { inputVersion, inputVersions } from "./progress.ts";
import type { RefreshFailure, RefreshLetters } from "./refresh-letters.ts";
import { Picture, parseBronze, type RelationsOptions, sourceTable } from "./relations.ts";
import { type RowsPlan, SessionRefresh } from "./session-refresh.ts";
import { computedRows } from "./shaped.ts";
import { inputPredicates, matchesInput, matchesOutput, type Touched, touchedFiles, touchedValues } from "./touched.ts";

/** Raised inside a statement by a row that `by` does not account for. */
const OUTSIDE = "millrace: row outside the touched values";

/** Compactions give way; who else refreshes a table has done the work by the second try. */
const ATTEMPTS = 8;

type Plan =
  | { readonly kind: "none" }
  | { readonly kind: "full"; readonly reason: string }
  | { readonly kind: "by"; readonly touched: Touched }
  | RowsPlan;

export interface RefreshOutcome {
  readonly table: string;
  readonly kind: "none" | "full" | "by";
  readonly version: number;
  readonly elapsedMs: number;
}

export interface RefreshOptions extends RunOptions {
  /** Recomputes all of it, whatever the plan says. */
  readonly full?: boolean;
  /** Rows of inputs that carry `by`: their values are recomputed beside what the plan says. */
  readonly rows?: readonly Relation[];
  /** Tries values again that failed before, also where nothing about them has changed. */
  readonly failing?: boolean;
  /** Who asked for it, where somebody did: each such try counts in the dead letters. */
  readonly actor?: string;
}

export interface RefresherOptions {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  readonly relations: RelationsOptions;
  readonly letters: RefreshLetters;
  /** Who computes what is stored; the embedded engine unless given. */
  readonly chooseEngine?: ChooseEngine | undefined;
  readonly debounceMs: number;
  /** Whether this process refreshes what is due; what somebody asks for is refreshed in any. */
  readonly leads: () => boolean;
  readonly logger: Logger;
}

export class Refresher {
  readonly #o: RefresherOptions;
  readonly #sessions: SessionRefresh;
  readonly #undivided = new Set<string>();
  readonly #due = new Set<string>();
  readonly #running = new Map<string, Promise<RefreshOutcome>>();
  /** Table -> why it cannot be refreshed as a whole. */
  readonly #failed = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #round: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: RefresherOptions) {
    this.#o = options;
    this.#sessions = new SessionRefresh({ ...options, local: options.engine.local });
    options.lake.onCommit((table, by) => {
      if (by === "others" && this.#failed.has(table)) this.soon([table]); // somebody has perhaps done what failed here
    });
  }

  /** Says that tables have new commits; what depends on them is refreshed soon. */
  changed(tables: Iterable<string>): void {
    const changed = new Set(tables);
    const due = [...this.#o.project.tables.values()].filter(
      (table) =>
        table.mode === "refresh" && table.inputs.some((input) => changed.has(sourceTable(this.#o.project, input))),
    );
    this.soon(due.map(({ name }) => name));
  }

  /** Refreshes tables soon, as if their inputs had changed. */
  soon(tables: readonly string[]): void {
    for (const table of tables) this.#due.add(table);
    if (this.#due.size === 0 || this.#timer || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.settle();
    }, this.#o.debounceMs);
  }

  /**
   * Refreshes all that is due now, inputs before what reads them. A failure is logged; one of the data is tried again with the next change, any other
   * by itself.
   */
  settle(): Promise<void> {
    this.#round = this.#round.then(async () => {
      for (const name of this.#o.project.tables.keys()) {
        // What is due stays due, for the case that this process leads later.
        if (this.#closed || !this.#o.leads() || !this.#due.delete(name)) continue;
        try {
          await this.refresh(name);
        } catch (error) {
          const known = error instanceof MillraceError ? error : undefined;
          if (known?.code === "TABLE_BUILDING")
            this.#o.logger.info({ table: name, reason: known.message }, "refreshed once its inputs are built");
          else if (known?.code === "REFRESH_FAILED")
            this.#o.logger.error({ err: error, table: name }, "refresh failed");
          else this.#again(name, error);
        }
      }
      if (this.#retryTimer === undefined) this.#retryMs = FIRST_RETRY_MS;
    });
    return this.#round;
  }

  /**
   * Nothing about the data is wrong: the store, the engine or a file is away, or others have the memory. Perhaps no commit comes that would make the
   * table due again, so that it is tried again by itself.
   */
  #again(name: string, error: unknown): void {
    const { logger } = this.#o;
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof MillraceError && error.retryable)
      logger.warn({ table: name, reason }, "refresh failed; it is tried again");
    else logger.error({ err: error, table: name }, "refresh failed; it is tried again");
    this.#failed.set(name, refreshFailure(name, reason).message);
    this.#due.add(name);
    if (this.#retryTimer || this.#closed) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      void this.settle();
    }, this.#retryMs);
    this.#retryMs = Math.min(LONGEST_RETRY_MS, this.#retryMs * 2);
  }

  /** Refreshes a table for its dead letters' sake. Resolves to the ids of those that are open now, with their messages. */
  async retry(name: string, actor: string): Promise<ReadonlyMap<string, string>> {
    try {
      await this.refresh(name, { failing: true, actor });
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === "REFRESH_FAILED")) throw error;
    }
    return this.#o.letters.open(name);
  }

  /** Tables that their last refresh left behind, whole or in part, with the reason. What fails as a whole, the process knows that leads. */
  failures(): Record<string, string> {
    const failures: Record<string, string> = {};
    for (const table of this.#o.project.tables.values()) {
      if (table.mode !== "refresh" || !this.#o.lake.has(table.name)) continue;
      const values = failingValues(this.#o.lake.get(table.name).snapshot);
      const whole = this.#o.leads() ? this.#failed.get(table.name) : undefined;
      if (whole !== undefined) failures[table.name] = whole;
      else if (values.length > 0) failures[table.name] = refreshFailed(table, values).message;
    }
    return failures;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#retryTimer);
    await this.#round;
    await Promise.allSettled(this.#running.values());
  }

  /** Brings a table to the committed state of its inputs. */
  async refresh(name: string, options: RefreshOptions = {}): Promise<RefreshOutcome> {
    const table = this.#o.project.tables.get(name);
    if (table === undefined && !this.#o.lake.has(name)) {
      throw new MillraceError("TABLE_UNKNOWN", {
        table: name,
        nearest: didYouMean(name, this.#o.project.tables.keys()),
      });
    }
    if (table?.mode !== "refresh") throw new MillraceError("REFRESH_NOT_POSSIBLE", { table: name });
    const before = this.#running.get(name)?.catch(() => undefined);
    const run = (async () => {
      await before;
      return this.#refreshOnce(table, options);
    })();
    this.#running.set(name, run);
    try {
      return await run;
    } finally {
      if (this.#running.get(name) === run) this.#running.delete(name);
    }
  }

  async #refreshOnce(table: RefreshTable, options: RefreshOptions): Promise<RefreshOutcome> {
    const started = performance.now();
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      await giveWay(attempt);
      await this.#o.relations.bring?.([table.name], new Set());
      const picture = new Picture(this.#o.relations, this, "committed");
      const outcome = await this.#attempt(table, options, picture, started).finally(() => picture.release());
      if (outcome !== undefined) return outcome;
    }
    throw new MillraceError("COMMIT_CONFLICT", { table: table.name });
  }

  /** One try to refresh a table; undefined when it has to be made anew. */
  async #attempt(
    table: RefreshTable,
    options: RefreshOptions,
    picture: Picture,
    started: number,
  ): Promise<RefreshOutcome | undefined> {
    const { lake } = this.#o;
    const snapshot = picture.snapshot(table.name);
    const versions = table.inputs.map(
      (input) => [input, picture.snapshot(sourceTable(this.#o.project, input)).version] as const,
    );
    const settle = (failures: readonly RefreshFailure[]) =>
      this.#o.letters.settle(table.name, Object.fromEntries(versions), failures, options.actor);
    let work: Work;
    try {
      const due = this.#forced(table, options) ?? (await this.#plan(table, picture));
      const plan = await this.#withFailing(
        table,
        picture,
        await this.#withRows(table, due, options.rows ?? []),
        options,
      );
      work = await this.#write(table, picture, plan, options);
    } catch (error) {
      if (!(error instanceof MillraceError && error.message.includes(OUTSIDE))) {
        if (!isAboutData(error)) throw error;
        const failed = refreshFailure(table.name, error.message);
        this.#failed.set(table.name, failed.message);
        await settle([{ by: undefined, message: failed.message }]);
        throw failed;
      }
      this.#undivided.add(table.name);
      this.#o.logger.warn({ table: table.name, by: table.by }, "`by` does not divide the rows: recomputing in full");
      return undefined;
    }
    const { kind, failing } = work;
    let { version } = snapshot;
    if (kind !== "none") {
      const result = await lake.commit(lake.get(table.name), {
        operation: "REFRESH",
        readVersion: snapshot.version,
        add: work.add,
        remove: work.replaced.map((file) => file.path),
        txn: inputVersions(versions),
        info: { millrace: { refresh: kind, inputs: Object.fromEntries(versions) } },
        ...changedConfiguration(table, snapshot.configuration, failing),
      });
      if (result.kind !== "committed") return undefined;
      version = result.version;
      // Here and not by who asked: should anything fail from here on, the next try finds nothing to do, and nobody would tell.
      this.changed([table.name]);
    }
    this.#failed.delete(table.name);
    await settle(
      failing.map((value) => ({
        by: valueObject(table, value.tuple),
        message: refreshFailed(table, [value]).message,
      })),
    );
    // What was not tried now has been told before.
    if (work.tried.length > 0) throw refreshFailed(table, work.tried);
    return { table: table.name, kind, version, elapsedMs: performance.now() - started };
  }

  /** The plan where it does not hang on what has changed. */
  #forced({ name }: RefreshTable, options: RefreshOptions): Plan | undefined {
    if (options.full) return { kind: "full", reason: "asked for" };
    const isDamaged = this.#o.lake.damagedFiles().some(({ table }) => table === name);
    return isDamaged ? { kind: "full", reason: "it has a damaged file" } : undefined;
  }

  /** Writes what the plan asks for; of a table with `by` all values that can be computed. Commits nothing. */
  async #write(table: RefreshTable, picture: Picture, plan: Plan, options: RefreshOptions): Promise<Work> {
    const { lake } = this.#o;
    const snapshot = picture.snapshot(table.name);
    const before = failingValues(snapshot);
    if (plan.kind === "none") return { kind: "none", add: [], replaced: [], failing: before, tried: [] };
    if (plan.kind === "rows") {
      const { replaced } = plan;
      const statement = this.#sessions.rows(table, picture, plan, replaced);
      const add = await lake.write(lake.get(table.name), statement, options);
      return { kind: "by", add, replaced, failing: before, tried: [] };
    }
    const replaced = plan.kind === "full" ? snapshot.files : touchedFiles(table, plan.touched, snapshot.files);
    const write = (statement: Statement) => {
      const engine = this.#o.chooseEngine?.(table, statement);
      return lake.write(lake.get(table.name), statement, { ...options, engine });
    };
    const rest = plan.kind === "full" ? [] : without(before, plan.touched.tuples);
    try {
      const add = await write(await this.#newRows(table, picture, plan, replaced));
      return { kind: plan.kind, add, replaced, failing: rest, tried: [] };
    } catch (error) {
      if (!isAboutData(error) || error.message.includes(OUTSIDE)) throw error;
      const tuples = plan.kind === "by" ? plan.touched.tuples : await this.#allValues(table, picture);
      if (tuples === undefined) throw error;
      const known = new Set(before.map(({ tuple }) => tuple.join()));
      const groups = [tuples.filter((tuple) => !known.has(tuple.join()))];
      for (const tuple of tuples) if (known.has(tuple.join())) groups.push([tuple]);
      const { good, failing } = await separate(groups, (some) => this.#compute(table, picture, some));
      // All of them pass one by one: then it is not about values.
      if (failing.length === 0) throw error;
      const kept = plan.kind === "by" ? { tuples: good } : { tuples: failing.map(({ tuple }) => tuple) };
      const files = plan.kind === "by" ? touchedFiles(table, kept, snapshot.files) : snapshot.files;
      const condition = matchesOutput(table, kept);
      const statement = await this.#newRows(table, picture, { kind: "by", touched: { tuples: good } }, files, {
        keep: plan.kind === "by" ? `not (${condition})` : condition,
      });
      const add = await write(statement);
      return { kind: "by", add, replaced: files, failing: [...rest, ...failing], tried: failing };
    }
  }

  /** Every value of `by` that the inputs hold; undefined where the table cannot be computed value by value. */
  async #allValues(table: RefreshTable, picture: Picture): Promise<Touched["tuples"] | undefined> {
    const snapshot = picture.snapshot(table.name);
    // Rows of an older definition do not stand beside those of a newer one.
    const current =
      snapshot.configuration["millrace.definition"] === definitionHash(table) || snapshot.files.length === 0;
    if (table.byInputs.length === 0 || this.#undivided.has(table.name) || !current) return undefined;
    const rows: Relation[] = [];
    for (const name of table.byInputs) rows.push(await picture.relation({ name }));
    return (await touchedValues(this.#o.engine, table, rows))?.tuples;
  }

  /** Computes every column of some values and keeps nothing. */
  async #compute(table: RefreshTable, picture: Picture, tuples: Touched["tuples"]): Promise<void> {
    const statement = await this.#newRows(table, picture, { kind: "by", touched: { tuples } }, []);
    const inputs = new Map([["computed", { kind: "view", statement } as const]]);
    const { batches } = await this.#o.engine.query({ sql: "select bit_xor(hash(c)) from computed c", inputs });
    for await (const _ of batches);
  }

  /** A plan that recomputes the values of `by` of some rows as well. */
  async #withRows(table: RefreshTable, plan: Plan, rows: readonly Relation[]): Promise<Plan> {
    if (plan.kind === "full" || plan.kind === "rows" || rows.length === 0) return plan;
    if (this.#undivided.has(table.name)) return { kind: "full", reason: "`by` does not divide the rows" };
    const touched = await touchedValues(this.#o.engine, table, rows);
    if (!touched) return { kind: "full", reason: "too many values are touched" };
    const tuples = [...touched.tuples, ...(plan.kind === "by" ? plan.touched.tuples : [])];
    if (tuples.length === 0) return plan;
    return { kind: "by", touched: { tuples: [...new Map(tuples.map((tuple) => [tuple.join(), tuple])).values()] } };
  }

  /** A plan that tries values again which failed before: all of them where that is asked for, else those that have new rows. */
  async #withFailing(table: RefreshTable, picture: Picture, plan: Plan, options: RefreshOptions): Promise<Plan> {
    if (plan.kind === "full" || plan.kind === "rows" || options.failing !== true) return plan;
    const failing = failingValues(picture.snapshot(table.name));
    if (failing.length === 0) return plan;
    const touched = plan.kind === "by" ? plan.touched.tuples : [];
    return { kind: "by", touched: { tuples: [...touched, ...without(failing, touched).map(({ tuple }) => tuple)] } };
  }

  /** The table as of all events the picture shows. */
  async current(table: RefreshTable, picture: Picture): Promise<Relation> {
    const lakeTable = this.#o.lake.get(table.name);
    const snapshot = picture.snapshot(table.name);
    const stored = this.#o.lake.relation(lakeTable, snapshot);
    const plan = await this.#plan(table, picture);
    if (plan.kind === "full") return { kind: "view", statement: await this.#newRows(table, picture, plan, []) };
    if (plan.kind === "rows") return { kind: "view", statement: this.#sessions.rows(table, picture, plan) };
    const refused = without(failingValues(snapshot), plan.kind === "by" ? plan.touched.tuples : []);
    const shown: Relation =
      plan.kind === "none"
        ? stored
        : { kind: "view", statement: await this.#newRows(table, picture, plan, snapshot.files) };
    if (refused.length === 0) return shown;
    const old = matchesOutput(table, { tuples: refused.map(({ tuple }) => tuple) });
    const sql = `select * from shown where not (${old}) union all by name ${refusedRows(table, refused)}`;
    return { kind: "view", statement: { sql, inputs: new Map([["shown", shown]]) } };
  }

  /** The rows that are to stand in place of the files in `replaced`, of which those that meet `keep` stay. */
  async #newRows(
    table: RefreshTable,
    picture: Picture,
    plan: Exclude<Plan, { kind: "none" | "rows" }>,
    replaced: readonly DataFile[],
    options: { keep?: string } = {},
  ): Promise<Statement> {
    const inputs = new Map<string, Relation>();
    for (const input of table.inputs) inputs.set(input, await this.#input(table, picture, plan, input));
    const computed = computedRows(table, inputs);
    if (plan.kind === "full") return computed;
    const snapshot = picture.snapshot(table.name);
    const touched = matchesOutput(table, plan.touched);
    const kept = this.#o.lake.relation(this.#o.lake.get(table.name), snapshot, replaced);
    return {
      sql: `select * from kept where ${options.keep ?? `not (${touched})`} union all by name
            select * from computed where case when ${touched} then true else error('${OUTSIDE}') end`,
      inputs: new Map<string, Relation>([
        ["kept", kept],
        ["computed", { kind: "view", statement: computed }],
      ]),
    };
  }

  async #input(table: RefreshTable, picture: Picture, plan: Plan, input: string): Promise<Relation> {
    if (plan.kind !== "by" || !table.byInputs.includes(input)) return picture.relation({ name: input });
    const predicates = inputPredicates(table, plan.touched);
    const whole = await picture.relation({ name: input, predicates });
    const sql = `select * from whole where ${matchesInput(table, plan.touched)}`;
    return { kind: "view", statement: { sql, inputs: new Map([["whole", whole]]) } };
  }

  async #plan(table: RefreshTable, picture: Picture): Promise<Plan> {
    const { project, lake } = this.#o;
    const snapshot = picture.snapshot(table.name);
    if (snapshot.configuration["millrace.definition"] !== definitionHash(table)) {
      return { kind: "full", reason: "the definition changed" };
    }
    if (table.sessions !== undefined) return this.#sessions.plan(table, picture);
    const changed: Relation[] = [];
    let full: string | undefined;
    let removed = false;
    for (const input of table.inputs) {
      const source = sourceTable(project, input);
      const reflected = inputVersion(snapshot, input);
      const { version } = picture.snapshot(source);
      const staged = picture.stagedRows(input);
      const files = version > reflected ? await lake.get(source).delta.changes(reflected, version) : NO_CHANGES;
      const upstream = project.tables.get(input);
      const upstreamStale = upstream?.mode === "refresh" && (await this.#isStale(upstream, picture));
      if (reflected < 0 || files === undefined) full ??= `${input} was never read`;
      else if (files.added.length + files.removed.length + staged.length === 0 && !upstreamStale) continue;
      else if (!table.byInputs.includes(input)) full ??= `${input} changed`;
      else if (upstreamStale) full ??= `${input} is recomputed as well`;
      else if (files.removed.some((file) => lake.isDamaged(lake.get(source), file)))
        full ??= `${input} had a damaged file`;
      else {
        removed ||= files.removed.length > 0;
        changed.push(...this.#changedRows(input, [...files.added, ...files.removed], staged));
      }
    }
    if (full !== undefined) return { kind: "full", reason: full };
    if (changed.length === 0) return { kind: "none" };
    if (this.#undivided.has(table.name)) return { kind: "full", reason: "`by` does not divide the rows" };
    try {
      const touched = await touchedValues(this.#o.engine, table, changed);
      return touched ? { kind: "by", touched } : { kind: "full", reason: "too many values are touched" };
    } catch (error) {
      // A file may have been removed since it was damaged, and nobody needs it to compute the table from those that are there.
      const unread = error instanceof MillraceError && ["SQL_FAILED", "ENGINE_IO"].includes(error.code);
      if (!removed || !unread) throw error;
      return { kind: "full", reason: `what was removed from its inputs cannot be read: ${error.message}` };
    }
  }

  async #isStale(table: RefreshTable, picture: Picture): Promise<boolean> {
    if (!picture.showsStaged) return false;
    return failingValues(picture.snapshot(table.name)).length > 0 || (await this.#plan(table, picture)).kind !== "none";
  }

  #changedRows(input: string, files: readonly DataFile[], staged: readonly string[]): Relation[] {
    const { project, lake } = this.#o;
    const source = lake.get(sourceTable(project, input));
    const rows: Relation[] = staged.map((sql) => ({ kind: "native", sql }));
    if (files.length === 0) return rows;
    const stored = lake.relation(source, source.snapshot, files);
    const stream = project.streams.get(input);
    const isBronze = stream && source.name === `bronze.${input}`;
    rows.push(isBronze ? { kind: "view", statement: parseBronze(stream, stored) } : stored);
    return rows;
  }
}

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

function refreshFailure(table: string, reason: string): MillraceError {
  return new MillraceError("REFRESH_FAILED", { table, values: "", reason });
}

/** What a refresh has written and is to commit. */
interface Work {
  readonly kind: RefreshOutcome["kind"];
  readonly add: readonly DataFile[];
  readonly replaced: readonly DataFile[];
  /** All values that keep older rows, and among them those that failed just now. */
  readonly failing: readonly FailingValue[];
  readonly tried: readonly FailingValue[];
}

/** Values that are told of one by one. */
const MOST_TOLD = 5;

function refreshFailed(table: RefreshTable, values: readonly FailingValue[]): MillraceError {
  const told = values.slice(0, MOST_TOLD).map(({ tuple }) => valueText(table, tuple));
  const more = values.length > told.length ? `; and ${values.length - told.length} more` : "";
  return new MillraceError("REFRESH_FAILED", {
    table: table.name,
    values: ` for ${told.join("; ")}${more}`,
    reason: values[0]?.reason,
  });
}

function changedConfiguration(
  table: RefreshTable,
  before: Readonly<Record<string, string>>,
  failing: readonly FailingValue[],
): { configuration?: Record<string, string> } {
  const definition = definitionHash(table);
  const values = failing.length === 0 && before[FAILING] === undefined ? undefined : JSON.stringify(failing);
  if (before["millrace.definition"] === definition && before[FAILING] === values) return {};
  return {
    configuration: {
      ...before,
      "millrace.definition": definition,
      ...(values === undefined ? {} : { [FAILING]: values }),
    },
  };
}

const NO_CHANGES = { added: [], removed: [] };
