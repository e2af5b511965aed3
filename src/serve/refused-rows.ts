/**
 * Rows that PostgreSQL refuses for reasons that only PostgreSQL knows: it ends a COPY at the first of them. They are found by giving it
 * the rows in pieces, each taken back at once; a piece that fails is divided where the error says, or in half.
 */
import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { type PublishedShape, quoted } from "./published-shape.ts";

/** True for errors that speak of the data: its values, the columns' conditions, the limits of a row or an index entry. */
export function refusesRow(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && /^(22|23502|23514|54)/.test(error.code ?? "");
}

/** The lines that a table of the shape does not take, with PostgreSQL's reason. Leaves nothing behind. */
export async function findRefused(
  client: pg.Client,
  shape: PublishedShape,
  batches: AsyncIterable<unknown[][]>,
): Promise<Map<string, string>> {
  const refused = new Map<string, string>();
  const target = `probed (${shape.columns.map((c) => quoted(c.name)).join(", ")})`;
  await client.query("begin");
  try {
    await client.query(shape.create("probed", "temporary"));
    // Without the key's uniqueness, which is no matter of one row.
    const indexes = shape.key.length > 0 ? [`create index on probed (${shape.key.map(quoted).join(", ")})`] : [];
    for (const statement of [...indexes, ...shape.index("probed").filter((sql) => sql.startsWith("create index"))])
      await client.query(statement);
    for await (const batch of batches) {
      const waiting = [batch.flatMap(([line]) => (typeof line === "string" ? [line] : []))];
      for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
        if (part.length === 0) continue;
        const error = await attempt(client, target, part);
        if (error === undefined) continue;
        const at = Number(/^COPY \w+, line (\d+)/m.exec(error.where ?? "")?.[1] ?? Number.NaN) - 1;
        const row = part.length === 1 ? 0 : at;
        const line = part[row];
        if (line !== undefined) {
          refused.set(line, error.message);
          waiting.push(part.slice(row + 1), part.slice(0, row));
        } else waiting.push(part.slice(part.length >> 1), part.slice(0, part.length >> 1));
      }
    }
  } finally {
    // Where even this fails the connection is gone, and the server rolls back by itself.
    await client.query("rollback").catch(() => undefined);
  }
  return refused;
}

/** The error that the lines end with, if they do. */
async function attempt(
  client: pg.Client,
  target: string,
  lines: readonly string[],
): Promise<pg.DatabaseError | undefined> {
  await client.query("savepoint probing");
  let found: pg.DatabaseError | undefined;
  try {
    const copy = client.query(copyFrom(`copy ${target} from stdin`));
    await pipeline([Buffer.from(`${lines.join("\n")}\n`)], copy);
  } catch (error) {
    if (!refusesRow(error)) throw error;
    found = error;
  }
  await client.query("rollback to savepoint probing");
  return found;
}
