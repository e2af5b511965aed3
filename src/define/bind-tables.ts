import { MillraceError } from "../errors.ts";
import { bindSessions } from "./bind-sessions.ts";
import { bindTable, type Relations } from "./bind-table.ts";
import type { InputKind } from "./classify.ts";
import { didYouMean } from "./nearest.ts";
import { type Problem, problem, problemOf } from "./problem.ts";
import { BRONZE_COLUMNS, type Column, META_COLUMNS, type Stream, type Table } from "./project.ts";
import type { TableDraft } from "./read-table.ts";
import {
  fromKinds,
  functionsUsed,
  hasParameters,
  referenceName,
  type TableReference,
  tableReferences,
} from "./sql-ast.ts";
import type { SqlAst, SqlInspector } from "./sql-inspector.ts";

export interface BoundTables {
  /** Every table comes after its inputs. */
  readonly tables: ReadonlyMap<string, Table>;
  readonly problems: readonly { readonly draft: TableDraft; readonly problem: Problem }[];
}

/**
 * Binds all tables of a project against each other: what each reads, how it follows, which columns it gives. A table that reads one which
 * does not bind is left out without a problem of its own, because its cause is reported already.
 *
 * @param broken names of streams and tables that are defined but cannot be used.
 */
export async function bindTables(
  streams: ReadonlyMap<string, Stream>,
  drafts: readonly TableDraft[],
  broken: ReadonlySet<string>,
  inspector: SqlInspector,
): Promise<BoundTables> {
  const binder = new Binder(streams, drafts, broken, inspector, await inspector.aggregateFunctions());
  return binder.bind();
}

/** More names than this do not help a reader of a message. */
const MOST_NAMES = 12;

/** A statement that parses, and reads only what there is. */
interface Parsed {
  readonly draft: TableDraft;
  readonly ast: SqlAst;
  readonly inputs: readonly string[];
}

class Binder {
  private readonly drafts: readonly TableDraft[];
  private readonly broken: ReadonlySet<string>;
  private readonly inspector: SqlInspector;
  private readonly aggregates: ReadonlySet<string>;
  private readonly tables = new Map<string, Table>();
  private readonly problems: { draft: TableDraft; problem: Problem }[] = [];
  private readonly relations: ProjectRelations;
  private readonly names: ReadonlySet<string>;

  constructor(
    streams: ReadonlyMap<string, Stream>,
    drafts: readonly TableDraft[],
    broken: ReadonlySet<string>,
    inspector: SqlInspector,
    aggregates: ReadonlySet<string>,
  ) {
    this.drafts = drafts;
    this.broken = broken;
    this.inspector = inspector;
    this.aggregates = aggregates;
    this.relations = new ProjectRelations(inspector);
    for (const stream of streams.values()) {
      const kind = { kind: "stream", stream: stream.name } as const;
      this.relations.add(stream.name, [...stream.columns, ...META_COLUMNS], kind);
      this.relations.add(`bronze.${stream.name}`, BRONZE_COLUMNS, { kind: "other" });
    }
    this.names = new Set([...this.relations.names(), ...drafts.map(({ name }) => name)]);
  }

  async bind(): Promise<BoundTables> {
    const parsed = new Map<string, Parsed>();
    for (const draft of this.drafts) {
      const read = await this.parse(draft);
      if (read !== undefined) parsed.set(draft.name, read);
    }
    for (const { draft, ast, inputs } of this.inOrder(parsed)) {
      if (!inputs.every((name) => this.relations.has(name))) continue;
      const unfit = draft.sessions === undefined ? [] : bindSessions(draft.sessions, this.relations);
      for (const found of unfit) this.report(draft, found);
      if (unfit.length > 0) continue;
      const bound = await bindTable(draft, ast, inputs, this.relations, this.inspector, (name) =>
        this.aggregates.has(name),
      );
      if (Array.isArray(bound)) {
        for (const found of bound as Problem[]) this.report(draft, found);
        continue;
      }
      const table = bound as Table;
      this.tables.set(table.name, table);
      const events = table.mode === "append" && table.key.length === 0;
      this.relations.add(
        table.name,
        table.columns,
        events ? { kind: "append", stream: table.stream } : { kind: "other" },
      );
    }
    return { tables: this.tables, problems: this.problems };
  }

  private async parse(draft: TableDraft): Promise<Parsed | undefined> {
    let ast: SqlAst;
    try {
      ast = await this.inspector.parse(draft.sql);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      this.report(draft, problemOf(error));
      return undefined;
    }
    const subject = `table "${draft.name}"`;
    const refused = refusals(ast, subject);
    for (const found of refused) this.report(draft, found);
    const references = tableReferences(ast);
    const unknown = references.filter(
      (reference) => !this.isKnown(referenceName(reference)) && reference.schema !== "system",
    );
    for (const reference of unknown) this.report(draft, this.unknownInput(reference, draft, subject));
    if (refused.length > 0 || unknown.length > 0) return undefined;
    return { draft, ast, inputs: [...new Set(references.map(referenceName))] };
  }

  private isKnown(name: string): boolean {
    return this.names.has(name) || this.broken.has(name);
  }

  private unknownInput(reference: TableReference, draft: TableDraft, subject: string): Problem {
    const input = referenceName(reference);
    const names = [...this.names];
    // A name may only lack its schema, or have one too many.
    const sibling = names.find(
      (name) => name !== draft.name && name.split(".").at(-1) === reference.table.toLowerCase(),
    );
    const nearest = sibling === undefined ? didYouMean(input, names) : `; did you mean "${sibling}"?`;
    const own = names.filter((name) => !name.startsWith("bronze.") && name !== draft.name);
    const some = own.length > MOST_NAMES ? [...own.slice(0, MOST_NAMES), "…"] : own;
    const allowed = some.length > 0 ? some.join(", ") : "no other streams and tables";
    return problem("INPUT_UNKNOWN", { subject, input, nearest, place: placeOf(draft.sql, reference), allowed });
  }

  /** Inputs before what reads them. Tables in a circle are reported, once per circle, and left out. */
  private inOrder(parsed: ReadonlyMap<string, Parsed>): Parsed[] {
    const ordered: Parsed[] = [];
    const done = new Set<string>();
    const path: string[] = [];
    const visit = (name: string) => {
      const table = parsed.get(name);
      if (table === undefined || done.has(name)) return;
      const at = path.indexOf(name);
      if (at >= 0) {
        const circle = path.slice(at);
        // Told from its first name on, however it was found.
        const first = circle.indexOf([...circle].sort()[0]!);
        const told = [...circle.slice(first), ...circle.slice(0, first)];
        const owner = parsed.get(told[0]!)!;
        const known = this.problems.some(({ draft, problem: p }) => draft === owner.draft && p.code === "TABLE_CYCLE");
        if (!known) this.report(owner.draft, problem("TABLE_CYCLE", { path: [...told, told[0]].join(" -> ") }));
        return;
      }
      path.push(name);
      table.inputs.forEach(visit);
      path.pop();
      done.add(name);
      ordered.push(table);
    };
    for (const name of parsed.keys()) visit(name);
    return ordered;
  }

  private report(draft: TableDraft, found: Problem): void {
    this.problems.push({ draft, problem: found });
  }
}

/** The relations a statement can be bound against, declared to the inspector when a statement first needs them. */
class ProjectRelations implements Relations {
  private readonly inspector: SqlInspector;
  private readonly relations = new Map<string, { columns: readonly Column[]; kind: InputKind }>();
  private readonly declared = new Map<string, "whole" | "look-up">();

  constructor(inspector: SqlInspector) {
    this.inspector = inspector;
  }

  add(name: string, columns: readonly Column[], kind: InputKind): void {
    this.relations.set(name, { columns, kind });
  }

  has(name: string): boolean {
    return this.relations.has(name);
  }

  names(): IterableIterator<string> {
    return this.relations.keys();
  }

  columns(name: string): readonly Column[] {
    return this.relations.get(name)?.columns ?? [];
  }

  kind(name: string): InputKind {
    return this.relations.get(name)?.kind ?? { kind: "other" };
  }

  async declare(name: string, as: "whole" | "look-up"): Promise<void> {
    if (this.declared.get(name) === as) return;
    const columns = this.columns(name);
    await this.inspector.declare(name, as === "whole" ? columns : columns.filter((c) => !c.name.startsWith("_")));
    this.declared.set(name, as);
  }
}

/** Table functions that make rows out of their arguments alone. */
const TABLE_FUNCTIONS = new Set([
  "unnest",
  "range",
  "generate_series",
  "json_each",
  "json_tree",
  "repeat",
  "repeat_row",
]);

function refusals(ast: SqlAst, subject: string): Problem[] {
  const problems: Problem[] = [];
  const refuse = (input: string, reason: string, instead: string) => {
    problems.push(problem("INPUT_REFUSED", { subject, input, reason, instead }));
  };
  for (const reference of tableReferences(ast)) {
    const name = referenceName(reference);
    if (reference.schema.toLowerCase() === "system") {
      refuse(
        `"${name}"`,
        "reading the platform's own tables in a table's SQL is not supported yet",
        "Query them with POST /v1/sql",
      );
    }
    if (reference.at !== undefined) {
      refuse(`an older state of "${name}" (AT)`, "a table follows the newest state of its inputs", "Leave AT out");
    }
  }
  for (const { name, kind } of functionsUsed(ast)) {
    if (kind !== "table" || TABLE_FUNCTIONS.has(name)) continue;
    const reason = "the platform could not see what the table depends on";
    refuse(
      `the table function ${name}`,
      reason,
      "Read streams and tables by their names; import files with `millrace import`",
    );
  }
  if (fromKinds(ast).has("SHOW_REF"))
    refuse("SHOW, DESCRIBE or SUMMARIZE", "it says nothing about events", "Write a SELECT");
  if (hasParameters(ast)) refuse("a parameter (?, $1 or $name)", "nothing fills it in", "Write the value itself");
  return problems;
}

function placeOf(sql: string, { position }: TableReference): string {
  if (position === undefined) return "";
  const before = Buffer.from(sql).subarray(0, position).toString().split("\n");
  return ` (line ${before.length} of its SQL)`;
}
