import { normalize } from "node:path";
import { quoteLiteral } from "../define/sql-text.ts";
import { literalGlob } from "./duckdb-files.ts";
import type { InputFiles } from "./sql-engine.ts";

const NOTHING_HELD = () => undefined;

/**
 * Holds the files that a statement's text names. A text is what every statement comes down to, also one that was compiled long before
 * and put into another, and nothing is read that it does not name: so this cannot miss one.
 */
export class HeldInputs {
  readonly #files: InputFiles | undefined;
  /** The beginning of every such literal. */
  readonly #mark: string;

  constructor(files: InputFiles | undefined) {
    this.#files = files;
    this.#mark = files === undefined ? "" : quoteLiteral(literalGlob(`${files.root}/`)).slice(0, -1);
  }

  /** @throws what `InputFiles.hold` throws */
  async hold(sql: string, signal?: AbortSignal): Promise<() => void> {
    if (this.#files === undefined) return NOTHING_HELD;
    const paths = this.#named(sql);
    return paths.size === 0 ? NOTHING_HELD : await this.#files.hold([...paths], signal);
  }

  #named(sql: string): Set<string> {
    const paths = new Set<string>();
    for (let at = sql.indexOf(this.#mark); at >= 0; ) {
      const end = literalEnd(sql, at + 1);
      const path = sql
        .slice(at + 1, end)
        .replaceAll("''", "'")
        .replaceAll(/\[([*?[])\]/g, "$1");
      paths.add(normalize(path));
      at = sql.indexOf(this.#mark, end);
    }
    return paths;
  }
}

/** Where the quote is that ends a literal: one that is doubled is part of it. */
function literalEnd(sql: string, from: number): number {
  for (let at = from; ; at += 2) {
    at = sql.indexOf("'", at);
    if (at < 0) return sql.length;
    if (sql[at + 1] !== "'") return at;
  }
}
