import type { TableDraft } from "./read-table.ts";
import { combiningParts, fromItems, queryOf, referenceName, type TableReference, tableReferences } from "./sql-ast.ts";
import type { SqlAst } from "./sql-inspector.ts";

/** What classification must know about a name that a statement reads. */
export type InputKind =
  | { readonly kind: "stream"; readonly stream: string }
  /** An append table without a key: each of its rows is one event's, and stays. */
  | { readonly kind: "append"; readonly stream: string }
  /** Anything else: tables that change as a whole or by key, and bronze. */
  | { readonly kind: "other" };

export type Classification =
  | { readonly mode: "append"; readonly driver: TableReference; readonly stream: string; readonly reason: string }
  | { readonly mode: "refresh"; readonly reason: string }
  /** Row by row over several streams: no way to follow that is right. */
  | { readonly mode: "none"; readonly streams: readonly string[] };

/**
 * How a table follows its inputs, with the reason in one sentence.
 *
 * *Append* needs one SELECT that takes its FROM row by row, and in that FROM one mention of a stream (or, when it reads no stream, of an
 * append table without a key) whose rows the joins neither invent nor withhold. Everything else it reads is a look-up.
 * All other statements, and those with `refresh`, are *refresh*.
 */
export function classify(
  draft: TableDraft,
  ast: SqlAst,
  kindOf: (name: string) => InputKind,
  isAggregate: (name: string) => boolean,
): Classification {
  const refresh = (reason: string): Classification => ({ mode: "refresh", reason });
  const parts = combiningParts(ast, isAggregate);
  if (parts.length > 0) return refresh(`it combines rows with ${listed(parts)}`);
  if (draft.refresh !== undefined) return refresh("the definition asks for a refresh");

  const mentions = tableReferences(ast).map((reference) => {
    const name = referenceName(reference);
    return { reference, name, input: kindOf(name) };
  });
  const streams = mentions.filter(({ input }) => input.kind === "stream");
  const streamNames = [...new Set(streams.map(({ name }) => name))];
  if (streamNames.length > 1) return { mode: "none", streams: streamNames };
  const drivers = streams.length > 0 ? streams : mentions.filter(({ input }) => input.kind === "append");
  const [driver] = drivers;
  if (driver === undefined) return refresh("it reads no stream and no append table row by row");
  if (drivers.length > 1) {
    const names = [...new Set(drivers.map(({ name }) => name))];
    return refresh(names.length > 1 ? `it joins events of ${listed(names)}` : `it reads ${names[0]} more than once`);
  }
  const item = fromItems(queryOf(ast).from_table).find(({ node }) => node === driver.reference.node);
  if (item === undefined) return refresh(`it reads ${driver.name} within a subquery or CTE`);
  if (item.optional || !item.independent)
    return refresh(`it joins ${driver.name} in a way that other rows decide about its own`);
  const lookups = [...new Set(mentions.filter((mention) => mention !== driver).map(({ name }) => name))];
  const { input } = driver;
  return {
    mode: "append",
    driver: driver.reference,
    stream: input.kind === "other" ? driver.name : input.stream,
    reason:
      `it takes ${driver.name} row by row` +
      (lookups.length > 0 ? ` and looks up ${listed(lookups)} as it is when the event is stored` : ""),
  };
}

function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
