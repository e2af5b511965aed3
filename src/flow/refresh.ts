/**
 * Tables that combine rows. They are recomputed after their inputs commit; between two refreshes a query gets the stored
 * rows with what has changed since worked in, by the same plan, so that it is never behind.
 *
 * A plan says how little must be computed: nothing, the touched values of `by`, or everything. The law is that the outcome equals a
 * full recompute; a table whose `by` turns out not to divide its rows is recomputed in full from then on.
 */
import type { Logger } from "pino";
import { didYouMean } from "../define/nearest.ts";
import type { Project, RefreshTable } from "../define/project.ts";
import type { Relation, RunOptions, SqlEngine, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile } from "../lake/delta-table.ts";
import { definitionHash, type LakeTables } from "./lake-tables.ts";
import { inputVersion, inputVersions } from "./progress.ts";
import { Picture, parseBronze, type RelationsOptions, sourceTable } from "./relations.ts";
import { shaped } from "./shaped.ts";
import { inputPredicates, matchesInput, matchesOutput, type Touched, touchedFiles, touchedValues } from "./touched.ts";

/** Raised inside a statement by a row that `by` does not account for. */
const OUTSIDE = "millrace: row outside the touched values";

type Plan =
  | { readonly kind: "none" }
  | { readonly kind: "full"; readonly reason: string }
  | { readonly kind: "by"; readonly touched: Touched };

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
}

export interface RefresherOptions {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly engine: SqlEngine;
  readonly relations: RelationsOptions;
  readonly debounceMs: number;
  readonly logger: Logger;
}

export class Refresher {
  readonly #o: RefresherOptions;
  readonly #undivided = new Set<string>();
  readonly #due = new Set<string>();
  readonly #running = new Map<string, Promise<RefreshOutcome>>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: RefresherOptions) {
    this.#o = options;
  }

  /** Says that tables have new commits; what depends on them is refreshed soon. */
  changed(tables: Iterable<string>): void {
    const changed = new Set(tables);
    for (const table of this.#o.project.tables.values()) {
      if (table.mode !== "refresh") continue;
      const touches = table.inputs.some((input) => changed.has(sourceTable(this.#o.project, input)));
      if (touches) this.#due.add(table.name);
    }
    if (this.#due.size === 0 || this.#timer || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.settle();
    }, this.#o.debounceMs);
  }

  /** Refreshes all that is due now, inputs before what reads them; a failure is logged and tried again with the next change. */
  settle(): Promise<void> {
    this.#round = this.#round.then(async () => {
      for (const name of this.#o.project.tables.keys()) {
        if (this.#closed || !this.#due.delete(name)) continue;
        try {
          const outcome = await this.refresh(name);
          if (outcome.kind !== "none") this.changed([name]);
        } catch (error) {
          this.#o.logger.error({ err: error, table: name }, "refresh failed");
        }
      }
    });
    return this.#round;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
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
    const { lake } = this.#o;
    const lakeTable = lake.get(table.name);
    for (let attempt = 0; attempt < 3; attempt++) {
      const picture = new Picture(this.#o.relations, this, "committed");
      const snapshot = picture.snapshot(table.name);
      const due: Plan = options.full ? { kind: "full", reason: "asked for" } : await this.#plan(table, picture);
      const plan = await this.#withRows(table, due, options.rows ?? []);
      const outcome = (version: number): RefreshOutcome => ({
        table: table.name,
        kind: plan.kind,
        version,
        elapsedMs: performance.now() - started,
      });
      if (plan.kind === "none") return outcome(snapshot.version);
      const replaced = plan.kind === "full" ? snapshot.files : touchedFiles(table, plan.touched, snapshot.files);
      let files: DataFile[];
      try {
        files = await lake.write(lakeTable, await this.#newRows(table, picture, plan, replaced), options);
      } catch (error) {
        if (!(error instanceof MillraceError && error.message.includes(OUTSIDE))) throw error;
        this.#undivided.add(table.name);
        this.#o.logger.warn({ table: table.name, by: table.by }, "`by` does not divide the rows: recomputing in full");
        continue;
      }
      const versions = table.inputs.map(
        (input) => [input, picture.snapshot(sourceTable(this.#o.project, input)).version] as const,
      );
      const hash = definitionHash(table);
      const result = await lake.commit(lakeTable, {
        operation: "REFRESH",
        readVersion: snapshot.version,
        add: files,
        remove: replaced.map((file) => file.path),
        txn: inputVersions(versions),
        info: { millrace: { refresh: plan.kind, inputs: Object.fromEntries(versions) } },
        ...(snapshot.configuration["millrace.definition"] === hash
          ? {}
          : { configuration: { ...snapshot.configuration, "millrace.definition": hash } }),
      });
      if (result.kind === "committed") return outcome(result.version);
    }
    throw new MillraceError("COMMIT_CONFLICT", { table: table.name });
  }

  /** A plan that recomputes the values of `by` of some rows as well. */
  async #withRows(table: RefreshTable, plan: Plan, rows: readonly Relation[]): Promise<Plan> {
    if (plan.kind === "full" || rows.length === 0) return plan;
    if (this.#undivided.has(table.name)) return { kind: "full", reason: "`by` does not divide the rows" };
    const touched = await touchedValues(this.#o.engine, table, rows);
    if (!touched) return { kind: "full", reason: "too many values are touched" };
    const tuples = [...touched.tuples, ...(plan.kind === "by" ? plan.touched.tuples : [])];
    if (tuples.length === 0) return plan;
    return { kind: "by", touched: { tuples: [...new Map(tuples.map((tuple) => [tuple.join(), tuple])).values()] } };
  }

  /** The table as of all events the picture shows. */
  async current(table: RefreshTable, picture: Picture): Promise<Relation> {
    const lakeTable = this.#o.lake.get(table.name);
    const snapshot = picture.snapshot(table.name);
    const stored = this.#o.lake.relation(lakeTable, snapshot);
    const plan = await this.#plan(table, picture);
    if (plan.kind === "none") return stored;
    return { kind: "view", statement: await this.#newRows(table, picture, plan, snapshot.files) };
  }

  /** The rows that are to stand in place of the files in `replaced`. */
  async #newRows(
    table: RefreshTable,
    picture: Picture,
    plan: Exclude<Plan, { kind: "none" }>,
    replaced: readonly DataFile[],
  ): Promise<Statement> {
    const inputs = new Map<string, Relation>();
    for (const input of table.inputs) inputs.set(input, await this.#input(table, picture, plan, input));
    const computed: Statement = { sql: shaped(table, table.sql), inputs };
    if (plan.kind === "full") return computed;
    const snapshot = picture.snapshot(table.name);
    const touched = matchesOutput(table, plan.touched);
    const kept = this.#o.lake.relation(this.#o.lake.get(table.name), snapshot, replaced);
    return {
      sql: `select * from kept where not (${touched}) union all by name
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
    const changed: Relation[] = [];
    let full: string | undefined;
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
      else changed.push(...this.#changedRows(input, [...files.added, ...files.removed], staged));
    }
    if (full !== undefined) return { kind: "full", reason: full };
    if (changed.length === 0) return { kind: "none" };
    if (this.#undivided.has(table.name)) return { kind: "full", reason: "`by` does not divide the rows" };
    const touched = await touchedValues(this.#o.engine, table, changed);
    return touched ? { kind: "by", touched } : { kind: "full", reason: "too many values are touched" };
  }

  async #isStale(table: RefreshTable, picture: Picture): Promise<boolean> {
    return picture.showsStaged && (await this.#plan(table, picture)).kind !== "none";
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

const NO_CHANGES = { added: [], removed: [] };
