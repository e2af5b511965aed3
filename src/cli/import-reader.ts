import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import type { DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { MillraceError } from "../errors.ts";
import { encodeText, type Field, matchColumns } from "./import-fields.ts";
import type { ImportFile } from "./import-files.ts";
import { readJsonRows } from "./import-json.ts";

/** How a file is to be read; part of what makes two imports the same. */
export interface Reading {
  /** Field -> column. */
  readonly map: Readonly<Record<string, string>>;
  /** Texts of a cell that stand for "no value". */
  readonly nulls: readonly string[];
  readonly delimiter: string | undefined;
  readonly encoding: string | undefined;
}

/** The rows of one file as events. */
export interface RowSource {
  /** Columns of the file that no field takes. Empty where rows are objects: there they stay in the event. */
  readonly unused: readonly string[];
  /** Rows of the file; undefined where counting them would mean reading all of it. */
  readonly rowCount: number | undefined;
  /** Share of the file read, 0 to 1, where the rows are not counted. */
  readonly share: () => number;
  /** Each row as one line of JSON without line breaks, in the order of the file, without the first `skip` rows. */
  rows(skip: number): AsyncIterable<string[]>;
  close(): Promise<void>;
}

/**
 * Opens a file for import into a stream of these fields.
 *
 * Cells of CSV and TSV are texts and are taken for what the contract says of their field; empty ones are left out of the event.
 * Parquet keeps its own types, written as JSON. Rows of JSON and NDJSON are events already: they are sent as they stand, but for
 * field names in another spelling and timestamps not in ISO 8601.
 * @throws IMPORT_FILE_BROKEN, IMPORT_COLUMN_MISSING
 */
export async function openRows(
  file: ImportFile,
  reading: Reading,
  fields: readonly Field[],
  stream: string,
): Promise<RowSource> {
  if (file.format === "json" || file.format === "ndjson") return readJsonRows(file, reading, fields);
  return TableRows.open(file, reading, fields, stream);
}

/** CSV, TSV and Parquet, read by an engine of our own process: the platform's is not bothered with files of its users. */
class TableRows implements RowSource {
  readonly unused: readonly string[];
  readonly rowCount: number;
  readonly #file: ImportFile;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #pairs: readonly { field: Field; column: string }[];
  readonly #select: string;
  readonly #nulls: ReadonlySet<string>;
  readonly #folder: string | undefined;

  private constructor(parts: {
    file: ImportFile;
    instance: DuckDBInstance;
    connection: DuckDBConnection;
    matched: ReturnType<typeof matchColumns>;
    select: string;
    rowCount: number;
    nulls: readonly string[];
    folder: string | undefined;
  }) {
    this.#file = parts.file;
    this.#instance = parts.instance;
    this.#connection = parts.connection;
    this.#pairs = parts.matched.pairs;
    this.unused = parts.matched.unused;
    this.#select = parts.select;
    this.rowCount = parts.rowCount;
    this.#nulls = new Set(parts.nulls);
    this.#folder = parts.folder;
  }

  static async open(file: ImportFile, reading: Reading, fields: readonly Field[], stream: string): Promise<TableRows> {
    const { DuckDBInstance } = await import("@duckdb/node-api");
    // The engine reads gzip and zstd by itself, Brotli it does not know.
    const folder = file.compression === "br" ? await mkdtemp(join(tmpdir(), "millrace-import-")) : undefined;
    const path = folder === undefined ? file.path : join(folder, "file");
    // One thread: the door takes rows in order, and is slower than one reader.
    const instance = await DuckDBInstance.create(":memory:", { threads: "1", autoinstall_known_extensions: "false" });
    const connection = await instance.connect();
    try {
      await connection.run("set TimeZone = 'UTC'");
      if (folder !== undefined)
        await pipeline(createReadStream(file.path), createBrotliDecompress(), createWriteStream(path));
      const call = file.format === "parquet" ? `read_parquet(${literal(path)})` : csvCall(path, file, reading);
      // Found out once, the columns hold for every statement.
      await connection.run(`create view rows as select * from ${call}`);
      const described = (await connection.runAndReadAll("describe rows")).getRowObjects();
      const types = new Map(described.map((row) => [String(row.column_name), String(row.column_type)]));
      const map = new Map(Object.entries(reading.map));
      const matched = matchColumns(fields, [...types.keys()], map, { path: file.shown, stream });
      if (file.format !== "parquet")
        await refuseUnnamed(connection, [...types.keys()], csvCall(path, file, reading, false));
      const counted = await connection.runAndReadAll("select count(*)::double as n from rows");
      const list = matched.pairs.map(({ column }) => asText(column, types.get(column)!)).join(", ");
      const rowCount = Number(counted.getRowObjects()[0]!.n);
      // One text per row costs a fraction of one per cell to take over from the engine.
      const select = `select to_json([${list}]::varchar[])::varchar from rows`;
      return new TableRows({ file, instance, connection, matched, select, rowCount, nulls: reading.nulls, folder });
    } catch (error) {
      connection.closeSync();
      instance.closeSync();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
      throw broken(file, error);
    }
  }

  readonly share = (): number => 1;

  async *rows(skip: number): AsyncIterable<string[]> {
    const names = this.#pairs.map(({ field }) => `${JSON.stringify(field.name)}:`);
    const kinds = this.#pairs.map(({ field }) => field.kind);
    try {
      const result = await this.#connection.stream(`${this.#select} offset ${skip}`);
      for (;;) {
        const chunk = await result.fetchChunk();
        if (chunk === null || chunk.rowCount === 0) return;
        const rows = chunk.getColumnValues(0) as string[];
        yield rows.map((row) => {
          const cells = JSON.parse(row) as (string | null)[];
          let event = "";
          for (let i = 0; i < cells.length; i += 1) {
            const text = cells[i];
            if (text === null || text === undefined || this.#nulls.has(text)) continue;
            event += `${event === "" ? "" : ","}${names[i]}${encodeText(kinds[i]!, text)}`;
          }
          return `{${event}}`;
        });
      }
    } catch (error) {
      throw broken(this.#file, error);
    }
  }

  async close(): Promise<void> {
    this.#connection.closeSync();
    this.#instance.closeSync();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

function csvCall(path: string, file: ImportFile, { delimiter, encoding }: Reading, header = true): string {
  // Every cell as the text it is: guessed types would turn 007 into 7. Our own nulls are left out later, so that
  // the engine's idea of null does not come in between.
  const options = [
    "all_varchar = true",
    `header = ${header}`,
    "null_padding = true",
    "parallel = false",
    "quote = '\"'",
    "escape = '\"'",
  ];
  const separator = delimiter ?? (file.format === "tsv" ? "\t" : undefined);
  if (separator !== undefined) options.push(`delim = ${literal(separator)}`);
  if (encoding !== undefined) options.push(`encoding = ${literal(encoding)}`);
  if (file.compression === "gz") options.push("compression = 'gzip'");
  else if (file.compression === "zst") options.push("compression = 'zstd'");
  else options.push("compression = 'none'");
  return `read_csv(${literal(path)}, ${options.join(", ")})`;
}

/**
 * Short rows have fewer values, which is common. A row with more cells than the header has names holds something that
 * would be lost: the file is refused. (The engine gives such cells columns of its own, which come after those of the header.)
 * @throws Error
 */
async function refuseUnnamed(
  connection: DuckDBConnection,
  columns: readonly string[],
  headless: string,
): Promise<void> {
  const [header] = (await connection.runAndReadAll(`select * from ${headless} limit 1`)).getRows();
  const named = (header ?? []).findLastIndex((name) => name !== null) + 1;
  const unnamed = columns.slice(named);
  if (unnamed.length === 0) return;
  const counts = unnamed.map((column) => `count("${column.replaceAll('"', '""')}")`).join(" + ");
  const [found] = (await connection.runAndReadAll(`select (${counts})::double from rows`)).getRows();
  if (Number(found?.[0]) > 0) {
    throw new Error(`its header names ${named} columns, and some row has ${columns.length} cells`);
  }
}

/** A column of a table as the text of its value: what a JSON string, number or structure will be made of. */
function asText(column: string, type: string): string {
  const name = `"${column.replaceAll('"', '""')}"`;
  if (/^(STRUCT|MAP|UNION)|\[\d*\]$/.test(type)) return `to_json(${name})::varchar`;
  if (type === "BLOB") return `base64(${name})`;
  if (/^TIMESTAMP/.test(type)) return `strftime(${name}::timestamp, '%Y-%m-%dT%H:%M:%S.%fZ')`;
  return `${name}::varchar`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function broken(file: ImportFile, error: unknown): Error {
  if (error instanceof MillraceError) return error;
  const message = (error as Error).message;
  const line = /CSV Error on Line: (\d+)/.exec(message)?.[1];
  const reason = message.replace(/^[A-Z][A-Za-z ]*(Error|Exception): /, "").split("\n")[0]!;
  const place = line === undefined ? "" : ` at line ${line}`;
  const detail = /Error on Line/.test(reason) ? message.split("\n").slice(1, 4).join(" ").trim() : reason;
  return new MillraceError("IMPORT_FILE_BROKEN", { path: file.shown, place, reason: detail }, { cause: error });
}
