/**
 * Which columns a name stands for while a query is translated: those of what stands in FROM, of the queries around it, and the names that the
 * select list gives.
 */
import { quoteSparkName } from "../../../define/sql-text.ts";
import { type Kind, Refused, type Value } from "./value.ts";

/** A column of a result, with as much of its type as is known. */
export interface Known {
  readonly name: string;
  readonly type: Kind;
}

/** One thing in FROM. */
export interface Source {
  /** Name by which the query speaks of it; also with its schema, where it is a table that is named without an alias. */
  readonly alias: string;
  readonly qualified: string | undefined;
  readonly columns: readonly Known[];
}

export class Scope {
  readonly sources: Source[] = [];
  /** Columns that a join by USING has made one of. */
  readonly joined = new Set<string>();
  /** Names that the select list gives, so far. */
  readonly aliases = new Map<string, Kind>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  /** @throws Refused for a name that is no column: words such as current_date are parsed as one. */
  column(path: readonly string[]): Value {
    return this.#find(path) ?? this.#alias(path) ?? this.#unknown(path);
  }

  has(name: string): boolean {
    return this.sources.some(({ columns }) => columns.some((column) => same(column.name, name)));
  }

  #find(path: readonly string[]): Value | undefined {
    for (const length of [2, 1, 0]) {
      if (path.length <= length) continue;
      const qualifier = path.slice(0, length).join(".");
      const name = path[length] ?? "";
      const sources = this.sources.filter(
        ({ alias, qualified }) => length === 0 || isCalled(qualifier, alias, qualified, length),
      );
      const found = sources.flatMap((source) => {
        const column = source.columns.find((one) => same(one.name, name));
        return column === undefined ? [] : [{ source, column }];
      });
      const [first] = found;
      if (first === undefined) continue;
      const start = length === 0 || first.source.alias === "" ? [] : [first.source.alias];
      return field(start, first.column, path.slice(length + 1));
    }
    return this.#outer === undefined ? undefined : this.#outer.#find(path);
  }

  #alias(path: readonly string[]): Value | undefined {
    const [name] = path;
    if (path.length !== 1 || name === undefined || !this.aliases.has(name.toLowerCase())) return undefined;
    return { sql: quoteSparkName(name), type: this.aliases.get(name.toLowerCase()) };
  }

  #unknown(path: readonly string[]): never {
    throw new Refused(`"${path.join(".")}", which is no column of an input`, "write it as a column or a literal");
  }
}

function isCalled(qualifier: string, alias: string, qualified: string | undefined, parts: number): boolean {
  return parts === 2 ? qualified !== undefined && same(qualifier, qualified) : same(qualifier, alias);
}

/** A column, or a field of it. */
function field(start: readonly string[], column: Known, rest: readonly string[]): Value {
  let type = column.type;
  for (const name of rest) {
    type = type?.kind === "struct" ? type.fields.find((one) => same(one.name, name))?.type : undefined;
    if (type === undefined)
      throw new Refused(`the field "${rest.join(".")}" of "${column.name}"`, "name a field of a struct");
  }
  return { sql: [...start, column.name, ...rest].map(quoteSparkName).join("."), type };
}

export function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
