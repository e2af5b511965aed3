import { MillraceError } from "../errors.ts";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { AnsweredError, type HttpClient, linesOf } from "./http-client.ts";
import { Progress } from "./progress.ts";
import { countText, elapsedText } from "./quantity-text.ts";
import { listenForStop } from "./stop-signal.ts";
import { printJson } from "./terminal.ts";

interface ReplayAnswer {
  readonly table: string;
  readonly version: number;
  readonly tables: readonly ReplayedTable[];
  readonly elapsedMs: number;
}

interface ReplayedTable {
  readonly table: string;
  readonly kind: "rebuilt" | "refreshed";
  readonly from: readonly (number | null)[];
  readonly fromVersion: number;
  readonly toVersion: number;
  readonly rowsBefore: number;
  readonly rowsAfter: number;
  readonly lettersOpened: number;
  readonly lettersClosed: number;
  readonly failure?: string;
}

/** One line of the answer while it comes. */
interface Line {
  readonly progress?: {
    readonly phase: string;
    readonly table: string;
    readonly events: number;
    readonly total: number;
  };
  readonly replayed?: ReplayAnswer;
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}

export const replay: Command = {
  name: "replay",
  summary: "Rebuild a table from what it was made of, by its definition as it is now.",
  operands: "TABLE",
  operandCount: { min: 1, max: 1 },
  options: {
    "from-offset": {
      type: "string",
      value: "N",
      doc: "Only events from this offset on, in every partition; or P:N,… for some of them.",
    },
    "from-time": { type: "string", value: "TIME", doc: "Only events received at this moment or later (ISO 8601)." },
    source: { type: "string", value: "SOURCE", doc: "Where the events are read: bronze (default) or log." },
    only: { type: "boolean", doc: "Leave the tables over it to themselves." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace replay silver.orders
  millrace replay silver.orders --from-time 2026-01-31T12:00:00Z
  millrace replay bronze.orders --from-offset 120000

Events that arrive meanwhile are accepted, visible and stored as ever. The new rows take the place of the old ones in one commit; readers see
the old table until then, and its earlier versions stay readable. Tables over it are rebuilt and refreshed too. Ctrl-C cancels: the
table is then as it was.

Rows of events before the offset or the moment stay. A table that keeps the newest row per key is always rebuilt whole, since what a
key holds is decided by all of its changes; a table that combines rows recomputes the values of \`by\` that those events reach. Bronze
itself is rebuilt from the log, as far back as that is kept.`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const body = orderOf(call);
    const client = connect(call);
    const stop = listenForStop(() => process.exit(130));
    const progress = new Progress(terminal, operands[0]!);
    try {
      const answer = await follow(client, operands[0]!, body, stop.signal, progress);
      progress.done();
      if (flags.has("json")) printJson(terminal, answer);
      else terminal.stdout.write(describe(answer));
      return answer.tables.some((table) => table.failure !== undefined) ? 1 : 0;
    } catch (error) {
      progress.done();
      if (stop.signal.aborted) throw new MillraceError("REPLAY_CANCELLED", { table: operands[0] }, { cause: error });
      throw error;
    } finally {
      stop.end();
      client.close();
    }
  },
};

async function follow(
  client: HttpClient,
  table: string,
  body: object,
  signal: AbortSignal,
  progress: Progress,
): Promise<ReplayAnswer> {
  const path = `/v1/tables/${encodeURIComponent(table)}/replay`;
  const response = await client.open(path, { body, signal, headers: { accept: "application/x-ndjson" } });
  const abort = () => response.destroy();
  signal.addEventListener("abort", abort);
  try {
    for await (const text of linesOf(response, client.url)) {
      const line = JSON.parse(text) as Line;
      if (line.replayed) return line.replayed;
      if (line.error) throw new AnsweredError(response.statusCode ?? 0, { error: line.error });
      if (line.progress && line.progress.total > 0)
        progress.update(line.progress.events, line.progress.events / line.progress.total);
    }
  } finally {
    signal.removeEventListener("abort", abort);
  }
  throw new MillraceError("PLATFORM_UNREACHABLE", { url: client.url, reason: "the answer ended before the replay" });
}

function orderOf({ flags }: Call): Record<string, unknown> {
  const source = flags.text("source");
  if (source !== undefined && source !== "bronze" && source !== "log")
    throw wrongUsage(replay, `--source is bronze or log, not ${source}`);
  return {
    ...(source === undefined ? {} : { source }),
    ...(flags.has("only") ? { only: true } : {}),
    ...fromOffset(flags.text("from-offset")),
    ...fromTime(flags.text("from-time")),
  };
}

function fromOffset(text: string | undefined): object {
  if (text === undefined) return {};
  if (/^\d{1,15}$/.test(text)) return { fromOffset: Number(text) };
  const pairs = text.split(",").map((pair) => /^(\d{1,9}):(\d{1,15})$/.exec(pair));
  if (pairs.includes(null)) {
    throw wrongUsage(
      replay,
      `--from-offset is an offset, like 5000, or P:N for some partitions, like 0:5000,1:70; not ${text}`,
    );
  }
  return { fromOffset: Object.fromEntries(pairs.map((pair) => [pair?.[1], Number(pair?.[2])])) };
}

function fromTime(text: string | undefined): object {
  if (text === undefined) return {};
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw wrongUsage(replay, `--from-time is a moment like 2026-01-31T12:00:00Z, not ${text}`);
  return { fromTime: new Date(ms).toISOString() };
}

function describe({ table, version, tables, elapsedMs }: ReplayAnswer): string {
  if (tables.length === 0) return `${table} stays as it is (version ${version}): no event was received since\n`;
  const lines = tables.map((one) => {
    const rows = `${countText(one.rowsBefore)} -> ${countText(one.rowsAfter)} rows`;
    const letters = [
      ...(one.lettersOpened > 0 ? [`, ${countText(one.lettersOpened)} new dead letters`] : []),
      ...(one.lettersClosed > 0 ? [`, ${countText(one.lettersClosed)} dead letters closed`] : []),
    ].join("");
    if (one.failure !== undefined) return `  ${one.table} could not be refreshed and is tried again: ${one.failure}`;
    if (one.fromVersion === one.toVersion) return `  ${one.table} was up to date (version ${one.toVersion})`;
    return `  ${one.table} ${one.kind}, version ${one.fromVersion} -> ${one.toVersion}, ${rows}${letters}`;
  });
  return `${table} replayed in ${elapsedText(elapsedMs)}, version ${version}\n${lines.join("\n")}\n`;
}
