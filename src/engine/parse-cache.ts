import type { SqlAst } from "../define/sql-inspector.ts";

/** Parse trees of the texts met last: a platform runs the same few statements again and again. Trees are not to be changed. */
export class ParseCache {
  readonly #parse: (sql: string) => Promise<SqlAst>;
  readonly #trees = new Map<string, SqlAst>();

  constructor(parse: (sql: string) => Promise<SqlAst>) {
    this.#parse = parse;
  }

  async get(sql: string): Promise<SqlAst> {
    const known = this.#trees.get(sql);
    if (known !== undefined) {
      // A Map keeps the order of insertion: what was used last goes to the end.
      this.#trees.delete(sql);
      this.#trees.set(sql, known);
      return known;
    }
    const tree = await this.#parse(sql);
    if (sql.length <= LONGEST) this.#trees.set(sql, tree);
    if (this.#trees.size > MOST) this.#trees.delete(this.#trees.keys().next().value as string);
    return tree;
  }
}

/** Together a few megabytes at the most: a tree takes about a hundred bytes per character of text. */
const MOST = 200;
const LONGEST = 10_000;
