import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import type { HttpClient } from "./http-client.ts";
import { ImportDoor, patiently, type Rejection } from "./import-door.ts";
import { contractFields, type Field } from "./import-fields.ts";
import { digest, FORMATS, type Format, findFiles, type ImportFile } from "./import-files.ts";
import { openRows, type Reading, type RowSource } from "./import-reader.ts";
import { importTarget } from "./import-target.ts";
import { Progress } from "./progress.ts";
import { countText, elapsedText } from "./quantity-text.ts";
import { listenForStop } from "./stop-signal.ts";
import { printJson, type Terminal } from "./terminal.ts";

export const importCommand: Command = {
  name: "import",
  summary: "Bring files of rows into a stream, through the same door as live events.",
  operands: "STREAM|TABLE PATH…",
  operandCount: { min: 2, max: Number.POSITIVE_INFINITY },
  options: {
    map: { type: "string", value: "FIELD=COLUMN", multiple: true, doc: "Take a field from a column of another name." },
    null: {
      type: "string",
      value: "TEXT",
      multiple: true,
      doc: "A cell with this text has no value; empty cells never have one.",
    },
    format: { type: "string", value: "FORMAT", doc: `${FORMATS.join(", ")}; else the file's ending says it.` },
    delimiter: { type: "string", value: "CHAR", doc: "What stands between cells of CSV; else found out." },
    encoding: { type: "string", value: "NAME", doc: "utf-8 (default), utf-16 or latin-1; for CSV." },
    strict: { type: "boolean", doc: "Exit code 1 when the platform rejected rows." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace import orders orders.csv
  millrace import orders exports/ --map order_id=InvoiceNo --null NULL

Reads CSV and TSV (with a header line), JSON, NDJSON and Parquet, compressed (.gz, .zst, .br) or not; of a folder every such file
below it. Columns find their field whatever its case and separators (InvoiceNo is invoice_no). Timestamps without a zone are UTC.

Every row goes through the stream's contract. Rejected rows are told and kept as dead letters (system.dead_letters).
An import that was interrupted goes on where it ended when it is started again, and a file that is imported stays so: running the
same import twice changes nothing.`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const reading = readingOf(call);
    const format = formatOf(call);
    const client = connect(call);
    try {
      const stream = await importTarget(client, operands[0]!);
      const fields = contractFields(await client.json(`/v1/streams/${encodeURIComponent(stream)}/schema`));
      const { files, others } = await findFiles(operands.slice(1), terminal.cwd, format);
      if (others.length > 0) terminal.stderr.write(`Left out, for their ending is not known: ${others.join(", ")}\n`);
      const results: FileResult[] = [];
      for (const file of files) results.push(await importFile(client, terminal, file, reading, stream, fields));
      report(call, stream, results);
      const stopped = results.some((result) => result.stopped);
      return stopped || (flags.has("strict") && results.some(({ rejected }) => rejected > 0)) ? 1 : 0;
    } finally {
      client.close();
    }
  },
};

/** Rows of one request: enough to share its cost, few enough that a refused request costs little. */
const BATCH_ROWS = 1_000;
const BATCH_CHARS = 4_000_000;
const SHOWN_REJECTIONS = 5;

interface FileResult {
  readonly file: string;
  /** Rows read, in this run and before. */
  readonly read: number;
  readonly accepted: number;
  readonly rejected: number;
  /** Rows that an earlier run had brought in. */
  readonly before: number;
  /** The file had been imported whole already. */
  readonly already: boolean;
  readonly stopped: boolean;
  readonly elapsedMs: number;
  /** Of this run: how many by code, and the first few. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly first: readonly Rejection[];
}

async function importFile(
  client: HttpClient,
  terminal: Terminal,
  file: ImportFile,
  reading: Reading,
  stream: string,
  fields: readonly Field[],
): Promise<FileResult> {
  const startedMs = performance.now();
  const source = await openRows(file, reading, fields, stream);
  const stop = listenForStop(() => process.exit(1));
  try {
    if (source.unused.length > 0) {
      terminal.stderr.write(`${file.shown}: no field takes the column ${source.unused.join(", ")}\n`);
    }
    const door = new ImportDoor(client, stream, await digest(file, reading));
    const tally = new Tally();
    let before: number | undefined;
    const state = await patiently(
      async () => {
        const arrived = await door.arrived();
        before ??= arrived.row;
        tally.startFrom(arrived);
        return sendRows(door, source, tally, stop.signal, new Progress(terminal, file.shown, arrived.row));
      },
      (reason) => terminal.stderr.write(`waiting for the platform: ${reason}\n`),
    );
    const already = state === "done" && tally.read === before && before > 0;
    const elapsedMs = performance.now() - startedMs;
    return { file: file.shown, before: before!, already, stopped: state === "stopped", elapsedMs, ...tally.result() };
  } finally {
    stop.end();
    await source.close();
  }
}

async function sendRows(
  door: ImportDoor,
  source: RowSource,
  tally: Tally,
  stop: AbortSignal,
  progress: Progress,
): Promise<"done" | "stopped"> {
  const reader = batches(source.rows(tally.read));
  try {
    if (tally.read === source.rowCount) return "done";
    for (let next = reader.next(); ; ) {
      const { value: batch, done } = await next;
      if (done) return "done";
      if (stop.aborted) return "stopped";
      const sending = door.send(batch, tally.read + 1);
      // The next rows are made ready while the platform stores these.
      next = reader.next();
      next.catch(() => undefined);
      tally.add(batch.length, await sending);
      progress.update(tally.read, source.rowCount === undefined ? source.share() : tally.read / source.rowCount);
    }
  } finally {
    progress.done();
    await reader.return(undefined);
  }
}

async function* batches(chunks: AsyncIterable<string[]>): AsyncGenerator<string[], undefined> {
  let batch: string[] = [];
  let chars = 0;
  for await (const chunk of chunks) {
    for (const row of chunk) {
      if (batch.length > 0 && (batch.length === BATCH_ROWS || chars + row.length > BATCH_CHARS)) {
        yield batch;
        batch = [];
        chars = 0;
      }
      batch.push(row);
      chars += row.length;
    }
  }
  if (batch.length > 0) yield batch;
}

/** Counts what became of the rows of one file. */
class Tally {
  read = 0;
  #accepted = 0;
  #rejected = 0;
  readonly #reasons = new Map<string, number>();
  readonly #first: Rejection[] = [];

  startFrom(arrived: { row: number; accepted: number; rejected: number }): void {
    this.read = arrived.row;
    this.#accepted = arrived.accepted;
    this.#rejected = arrived.rejected;
  }

  add(rows: number, outcome: Awaited<ReturnType<ImportDoor["send"]>>): void {
    this.read += rows;
    this.#accepted += outcome.accepted;
    this.#rejected += outcome.rejected;
    for (const { code } of outcome.listed) this.#reasons.set(code, (this.#reasons.get(code) ?? 0) + 1);
    const unlisted = outcome.rejected - outcome.listed.length;
    if (unlisted > 0) this.#reasons.set("not listed", (this.#reasons.get("not listed") ?? 0) + unlisted);
    this.#first.push(...outcome.listed.slice(0, SHOWN_REJECTIONS - this.#first.length));
  }

  result() {
    const reasons = Object.fromEntries(this.#reasons);
    return { read: this.read, accepted: this.#accepted, rejected: this.#rejected, reasons, first: this.#first };
  }
}

function formatOf({ flags }: Call): Format | undefined {
  const format = flags.text("format");
  if (format === undefined || FORMATS.includes(format as Format)) return format as Format | undefined;
  throw wrongUsage(importCommand, `--format is one of ${FORMATS.join(", ")}; got "${format}"`);
}

function readingOf({ flags }: Call): Reading {
  const map: Record<string, string> = {};
  for (const pair of flags.texts("map")) {
    const at = pair.indexOf("=");
    if (at < 1) throw wrongUsage(importCommand, `--map is FIELD=COLUMN; got "${pair}"`);
    map[pair.slice(0, at)] = pair.slice(at + 1);
  }
  const nulls = [...new Set(["", ...flags.texts("null")])];
  return { map, nulls, delimiter: flags.text("delimiter"), encoding: flags.text("encoding") };
}

function report({ flags, terminal }: Call, stream: string, results: readonly FileResult[]): void {
  const sum = (pick: (result: FileResult) => number) => results.reduce((total, result) => total + pick(result), 0);
  const read = sum((result) => result.read);
  const accepted = sum((result) => result.accepted);
  const rejected = sum((result) => result.rejected);
  if (flags.has("json")) {
    printJson(terminal, {
      stream,
      read,
      accepted,
      rejected,
      balanced: read === accepted + rejected,
      files: results,
    });
    return;
  }
  const columns = ["file", "read", "accepted", "rejected", "time", ""].map((name, i) => ({
    name,
    align: i > 0 && i < 5 ? ("right" as const) : ("left" as const),
  }));
  const rows = results.map((result) => [
    result.file,
    countText(result.read),
    countText(result.accepted),
    countText(result.rejected),
    elapsedText(result.elapsedMs),
    remark(result),
  ]);
  terminal.stdout.write(drawTable(columns, rows, terminal.stdout.isTTY ? (terminal.stdout.columns ?? 80) : undefined));
  for (const result of results) describeRejections(terminal, result);
  const sign = read === accepted + rejected ? "=" : "≠";
  terminal.stdout.write(
    `${stream}: read ${countText(read)} ${sign} accepted ${countText(accepted)} + rejected ${countText(rejected)}\n`,
  );
}

function remark({ already, before, stopped, read }: FileResult): string {
  if (already) return "already imported";
  if (stopped) return `stopped after row ${countText(read)}; the same command goes on from there`;
  return before > 0 ? `went on after row ${countText(before)}` : "";
}

function describeRejections(terminal: Terminal, { file, reasons, first, rejected }: FileResult): void {
  if (Object.keys(reasons).length === 0) return;
  const counts = Object.entries(reasons).map(([code, count]) => `${code} ${countText(count)}`);
  terminal.stdout.write(
    `${file}: ${countText(rejected)} rows rejected (${counts.join(", ")}), kept in system.dead_letters:\n`,
  );
  for (const { row, code, message } of first) terminal.stdout.write(`  row ${countText(row)}: ${code}: ${message}\n`);
}
