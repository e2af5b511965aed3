/**
 * Of every column that a statement gives, the columns of its inputs that its value is computed from.
 *
 * It is read from the parse tree alone. What decides which rows there are (WHERE, join conditions, GROUP BY) makes no value and is left out; what is
 * within an expression (arguments, FILTER, PARTITION BY and ORDER BY of a window function, a subquery's result) is in. Where the tree does not tell,
 * the column says why, and never names inputs that it may not have.
 */
import { type AstNode, isNode, queryOf } from "./sql-ast.ts";
import type { SqlAst } from "./sql-inspector.ts";

export interface ColumnSource {
  /** As `columnsOf` was asked for it: in lower case. */
  readonly table: string;
  readonly column: string;
}

export interface TracedColumn {
  readonly name: string;
  readonly from: readonly ColumnSource[];
  /** Why its inputs are not known, or not all of them. */
  readonly unknown: string | undefined;
}

export interface StatementLineage {
  /** In the order of the select list. */
  readonly columns: readonly TracedColumn[];
  /** Why there are columns beside these whose place is not known, as behind `*` of something that does not name its own. */
  readonly open: string | undefined;
}

/** `columnsOf` gives the columns of a table or stream by its name in lower case. */
export function columnLineage(
  ast: SqlAst,
  columnsOf: (name: string) => readonly string[] | undefined,
): StatementLineage {
  const { columns, open } = new Tracer(columnsOf).query(queryOf(ast), new Map(), undefined);
  return {
    columns: columns.map(({ name, from, unknown }) => ({ name, from: [...from.values()], unknown })),
    open,
  };
}

interface Traced {
  readonly name: string;
  readonly from: ReadonlyMap<string, ColumnSource>;
  readonly unknown: string | undefined;
}

interface Result {
  readonly columns: readonly Traced[];
  readonly open: string | undefined;
}

interface Source {
  readonly alias: string;
  readonly qualified: string | undefined;
  readonly columns: readonly Traced[];
  /** What stands for a column that it does not name, where it names none or not all. */
  readonly others: Omit<Traced, "name"> | undefined;
}

type Ctes = ReadonlyMap<string, Result>;

const NOTHING: ReadonlyMap<string, ColumnSource> = new Map();
/** Parsed as columns where there is none of the name. */
const WORDS = new Set(["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"]);

class Scope {
  readonly sources: Source[] = [];
  readonly joined = new Set<string>();
  readonly aliases = new Map<string, Traced>();
  readonly outer: Scope | undefined;

  constructor(outer: Scope | undefined) {
    this.outer = outer;
  }

  column(path: readonly string[]): Omit<Traced, "name"> {
    const [name = ""] = path;
    const found = this.#find(path) ?? (path.length === 1 ? this.aliases.get(name.toLowerCase()) : undefined);
    if (found !== undefined) return found;
    if (path.length === 1 && WORDS.has(name.toLowerCase())) return { from: NOTHING, unknown: undefined };
    return { from: NOTHING, unknown: `"${path.join(".")}" is no column of an input that is known` };
  }

  #find(path: readonly string[]): Omit<Traced, "name"> | undefined {
    for (const length of [2, 1, 0]) {
      if (path.length <= length) continue;
      const qualifier = path.slice(0, length).join(".");
      const name = path[length] ?? "";
      const called = this.sources.filter(
        ({ alias, qualified }) => length === 0 || same(qualifier, (length === 2 ? qualified : alias) ?? ""),
      );
      const found = called.flatMap(({ columns }) => columns.filter((one) => same(one.name, name)));
      if (found.length > 0)
        return merged(length === 0 && this.joined.has(name.toLowerCase()) ? found : [found[0] as Traced]);
      const open = called.find(({ others }) => others !== undefined)?.others;
      if (open !== undefined && (length > 0 || called.length === 1)) return open;
    }
    return this.outer === undefined ? undefined : this.outer.#find(path);
  }
}

class Tracer {
  readonly #columnsOf: (name: string) => readonly string[] | undefined;

  constructor(columnsOf: (name: string) => readonly string[] | undefined) {
    this.#columnsOf = columnsOf;
  }

  query(node: AstNode, outer: Ctes, around: Scope | undefined): Result {
    const ctes = new Map(outer);
    const map = isNode(node.cte_map) ? (node.cte_map.map as { key: string; value: AstNode }[]) : [];
    for (const { key, value } of map ?? []) {
      const result = this.query((value.query as AstNode).node as AstNode, ctes, around);
      ctes.set(key.toLowerCase(), renamed(result, (value.aliases ?? []) as string[]));
    }
    if (node.type === "SELECT_NODE") return this.#select(node, ctes, around);
    if (node.type === "SET_OPERATION_NODE") return this.#setOperation(node, ctes, around);
    if (node.type === "RECURSIVE_CTE_NODE") return this.#recursive(node, ctes, around);
    return { columns: [], open: `${String(node.type)} is not followed` };
  }

  #setOperation(node: AstNode, ctes: Ctes, around: Scope | undefined): Result {
    const sides = (isNode(node.left) ? [node.left, node.right] : (node.children as unknown[])) as AstNode[];
    const results = sides.map((side) => this.query(side, ctes, around));
    const first = results[0] as Result;
    // What is taken away, or must be there as well, gives no values.
    if (!String(node.setop_type).startsWith("UNION")) return first;
    const open = results.find((result) => result.open !== undefined)?.open;
    if (node.setop_type !== "UNION_BY_NAME") return { columns: together(results), open };
    const names = new Map(results.flatMap(({ columns }) => columns.map(({ name }) => [name.toLowerCase(), name])));
    const columns = [...names.values()].map((name) => ({
      ...merged(results.flatMap((one) => one.columns.filter((column) => same(column.name, name)))),
      name,
    }));
    return { columns, open };
  }

  /** What the second half reads of itself comes, round by round, from the first and from what it reads beside. */
  #recursive(node: AstNode, ctes: Ctes, around: Scope | undefined): Result {
    const aliases = (node.aliases ?? []) as string[];
    let result = renamed(this.query(node.left as AstNode, ctes, around), aliases);
    for (let size = -1; size !== sizeOf(result); ) {
      size = sizeOf(result);
      const own = new Map(ctes).set(String(node.cte_name).toLowerCase(), result);
      const next = this.query(node.right as AstNode, own, around);
      result = { columns: together([result, next]), open: result.open ?? next.open };
    }
    return result;
  }

  #select(node: AstNode, ctes: Ctes, around: Scope | undefined): Result {
    const scope = new Scope(around);
    if (isNode(node.from_table)) this.#from(node.from_table, scope, ctes);
    const columns: Traced[] = [];
    let open: string | undefined;
    for (const item of (node.select_list ?? []) as AstNode[]) {
      if (item.class === "STAR") {
        const star = this.#star(item, scope, ctes);
        columns.push(...star.columns);
        open ??= star.open;
        continue;
      }
      const path = item.class === "COLUMN_REF" ? (item.column_names as string[]) : [];
      const name = String(item.alias ?? "") || path.at(-1) || "";
      const traced = { ...this.#expression(item, scope, ctes), name };
      columns.push(traced);
      if (name !== "") scope.aliases.set(name.toLowerCase(), traced);
    }
    return { columns, open };
  }

  #star(item: AstNode, scope: Scope, ctes: Ctes): Result {
    if (item.columns === true || isNode(item.expr)) return { columns: [], open: "columns(…) is not followed" };
    const of = String(item.relation_name ?? "");
    const lower = (names: unknown) => new Set(((names ?? []) as unknown[]).map((name) => String(name).toLowerCase()));
    const excluded = lower(item.exclude_list);
    const replaced = byKey(item.replace_list);
    const renames = byKey(item.rename_list);
    const columns: Traced[] = [];
    let open =
      ((item.qualified_exclude_list ?? []) as unknown[]).length > 0 ? "EXCLUDE of a qualified column" : undefined;
    const seen = new Set<string>();
    for (const source of scope.sources) {
      if (of !== "" && !same(of, source.alias) && !same(of, source.qualified ?? "")) continue;
      if (source.others !== undefined) open ??= source.others.unknown ?? `what "${source.alias}" has is not named`;
      for (const column of source.columns) {
        const name = column.name.toLowerCase();
        const joined = of === "" && scope.joined.has(name);
        if (excluded.has(name) || (joined && seen.has(name))) continue;
        seen.add(name);
        const replacement = replaced.get(name);
        const traced = isNode(replacement)
          ? this.#expression(replacement, scope, ctes)
          : joined
            ? scope.column([column.name])
            : column;
        columns.push({ ...traced, name: String(renames.get(name) ?? column.name) });
      }
    }
    return { columns, open };
  }

  #from(node: AstNode, scope: Scope, ctes: Ctes): void {
    const alias = String(node.alias ?? "");
    const names = (node.column_name_alias ?? []) as string[];
    const add = (result: Result, called: string, qualified?: string) => {
      const { columns, open } = renamed(result, names);
      const others = open === undefined ? undefined : { from: NOTHING, unknown: open };
      scope.sources.push({ alias: called, qualified, columns, others });
    };
    switch (node.type) {
      case "EMPTY":
        break;
      case "BASE_TABLE": {
        const table = String(node.table_name);
        const schema = String(node.schema_name ?? "");
        const name = (schema === "" ? table : `${schema}.${table}`).toLowerCase();
        const cte = schema === "" ? ctes.get(name) : undefined;
        add(cte ?? this.#table(name), alias || table, alias === "" && schema !== "" ? name : undefined);
        break;
      }
      case "SUBQUERY":
        add(this.query((node.subquery as AstNode).node as AstNode, ctes, scope), alias);
        break;
      case "JOIN":
        this.#join(node, scope, ctes);
        break;
      case "TABLE_FUNCTION": {
        // As unnest(a): whatever it gives is made of what it is given, which what stands before it in FROM may have.
        const given = this.#expression(node.function as AstNode, scope, ctes);
        const others = names.length === 0 ? given : undefined;
        scope.sources.push({ alias, qualified: undefined, columns: names.map((name) => ({ ...given, name })), others });
        break;
      }
      case "EXPRESSION_LIST":
        add({ columns: names.map((name) => ({ name, from: NOTHING, unknown: undefined })), open: undefined }, alias);
        break;
      default:
        add({ columns: [], open: `${String(node.type)} is not followed` }, alias);
    }
  }

  #table(name: string): Result {
    const columns = this.#columnsOf(name);
    if (columns === undefined) return { columns: [], open: `the columns of "${name}" are not known` };
    return {
      columns: columns.map((column) => ({
        ...{ name: column, unknown: undefined },
        from: new Map([[`${name}\0${column.toLowerCase()}`, { table: name, column }]]),
      })),
      open: undefined,
    };
  }

  #join(node: AstNode, scope: Scope, ctes: Ctes): void {
    const start = scope.sources.length;
    this.#from(node.left as AstNode, scope, ctes);
    const between = scope.sources.length;
    this.#from(node.right as AstNode, scope, ctes);
    const names = (sources: readonly Source[]) =>
      new Set(sources.flatMap(({ columns }) => columns.map(({ name }) => name.toLowerCase())));
    const using =
      node.ref_type === "NATURAL"
        ? [...names(scope.sources.slice(start, between))].filter((name) =>
            names(scope.sources.slice(between)).has(name),
          )
        : ((node.using_columns ?? []) as string[]);
    for (const name of using) scope.joined.add(name.toLowerCase());
    // What such a join looks at on its right side gives no columns.
    if (node.join_type === "SEMI" || node.join_type === "ANTI") scope.sources.splice(between);
  }

  #expression(node: AstNode, scope: Scope, ctes: Ctes, bound: ReadonlySet<string> = new Set()): Omit<Traced, "name"> {
    const parts: Omit<Traced, "name">[] = [];
    const visit = (value: unknown, names: ReadonlySet<string>): void => {
      if (Array.isArray(value)) for (const one of value) visit(one, names);
      if (!isNode(value) || value.class === "CONSTANT") return;
      if (value.class === "COLUMN_REF") {
        const path = value.column_names as string[];
        if (!names.has((path[0] ?? "").toLowerCase())) parts.push(scope.column(path));
      } else if (value.class === "STAR") {
        parts.push({ from: NOTHING, unknown: "columns(…) is not followed" });
      } else if (value.class === "SUBQUERY") {
        const { columns, open } = this.query((value.subquery as AstNode).node as AstNode, ctes, scope);
        parts.push(...columns, { from: NOTHING, unknown: open });
        visit(value.child, names);
      } else if (value.class === "LAMBDA") {
        visit(value.expr, new Set([...names, ...parametersOf(value.lhs)]));
      } else {
        for (const child of Object.values(value)) visit(child, names);
      }
    };
    visit(node, bound);
    return merged(parts);
  }
}

/** Names of `x -> …` or `(x, y) -> …`. */
function parametersOf(lhs: unknown): string[] {
  if (Array.isArray(lhs)) return lhs.flatMap(parametersOf);
  if (!isNode(lhs)) return [];
  if (lhs.class === "COLUMN_REF") return (lhs.column_names as string[]).map((name) => name.toLowerCase());
  return Object.values(lhs).flatMap(parametersOf);
}

function byKey(list: unknown): ReadonlyMap<string, unknown> {
  const entries = (list ?? []) as { key: unknown; value: unknown }[];
  return new Map(
    entries.map(({ key, value }) => [String(isNode(key) ? (key.column ?? "") : key).toLowerCase(), value]),
  );
}

function renamed({ columns, open }: Result, names: readonly string[]): Result {
  return { columns: columns.map((column, i) => ({ ...column, name: names[i] ?? column.name })), open };
}

function merged(parts: readonly Omit<Traced, "name">[]): Omit<Traced, "name"> {
  return {
    from: new Map(parts.flatMap(({ from }) => [...from])),
    unknown: parts.find(({ unknown }) => unknown !== undefined)?.unknown,
  };
}

/** By place, under the names of the first. */
function together(results: readonly Result[]): Traced[] {
  const [first, ...others] = results as [Result, ...Result[]];
  return first.columns.map((column, i) => ({
    ...merged([column, ...others.flatMap(({ columns }) => columns[i] ?? [])]),
    name: column.name,
  }));
}

function sizeOf({ columns }: Result): number {
  return columns.reduce((sum, { from }) => sum + from.size, 0);
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
