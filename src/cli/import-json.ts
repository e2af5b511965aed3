import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createZstdDecompress } from "node:zlib";
import { MillraceError } from "../errors.ts";
import { encodeText, type Field, plain } from "./import-fields.ts";
import type { ImportFile } from "./import-files.ts";
import type { Reading, RowSource } from "./import-reader.ts";

/** Rows handed on at a time. */
const CHUNK_ROWS = 1_000;

/**
 * Reads JSON (an array of objects, or objects one after the other) and NDJSON. A row is sent letter for letter as it stands in the file
 * unless something about it must change; one that is no JSON is sent as well, for the door to say so and keep it.
 */
export function readJsonRows(file: ImportFile, reading: Reading, fields: readonly Field[]): RowSource {
  let readBytes = 0;
  const shape = eventShaper(reading, fields);
  return {
    unused: [],
    rowCount: undefined,
    share: () => (file.sizeBytes === 0 ? 1 : readBytes / file.sizeBytes),
    async *rows(skip) {
      let rowNumber = 0;
      let chunk: string[] = [];
      try {
        for await (const row of split(
          texts(file, (bytes) => (readBytes += bytes)),
          file.format === "ndjson",
        )) {
          rowNumber += 1;
          if (rowNumber <= skip) continue;
          chunk.push(shape(row));
          if (chunk.length < CHUNK_ROWS) continue;
          yield chunk;
          chunk = [];
        }
      } catch (cause) {
        // What was read before is in order, and goes out first.
        if (chunk.length > 0) yield chunk;
        const reason =
          (cause as NodeJS.ErrnoException).code === "ERR_ENCODING_INVALID_ENCODED_DATA"
            ? "it is not UTF-8"
            : (cause as Error).message;
        throw new MillraceError(
          "IMPORT_FILE_BROKEN",
          { path: file.shown, place: ` after row ${rowNumber}`, reason },
          { cause },
        );
      }
      if (chunk.length > 0) yield chunk;
    },
    async close() {},
  };
}

async function* texts(file: ImportFile, onRead: (bytes: number) => void): AsyncIterable<string> {
  const raw = createReadStream(file.path, { highWaterMark: 1_048_576 });
  raw.on("data", (chunk) => onRead(chunk.length));
  const bytes = decompressed(raw, file);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for await (const chunk of bytes) yield decoder.decode(chunk as Uint8Array, { stream: true });
  yield decoder.decode();
}

function decompressed(raw: Readable, { compression }: ImportFile): Readable {
  if (compression === "none") return raw;
  const inflate = { gz: createGunzip, zst: createZstdDecompress, br: createBrotliDecompress }[compression]();
  raw.on("error", (error) => inflate.destroy(error));
  return raw.pipe(inflate);
}

/**
 * The rows of a text that comes in pieces. Lines are rows when `lines` says so, or when the text's first line is an object of its own;
 * else the objects of an array, or those that follow one another, however they are laid out.
 */
async function* split(pieces: AsyncIterable<string>, lines: boolean): AsyncIterable<string> {
  let rest = "";
  let scanner: ObjectScanner | undefined;
  let byLine: boolean | undefined = lines ? true : undefined;
  for await (const piece of pieces) {
    rest += piece;
    if (byLine === undefined) {
      const end = rest.trimStart().indexOf("\n");
      // Undecided while there is no first line; a file that is one line is one object or one array either way.
      if (end === -1) continue;
      byLine = isObject(rest.trimStart().slice(0, end));
    }
    if (byLine) {
      const rows = rest.split("\n");
      rest = rows.pop()!;
      for (const row of rows) if (row.trim() !== "") yield row.trim();
    } else {
      scanner ??= new ObjectScanner();
      yield* scanner.push(rest);
      rest = "";
    }
  }
  if (byLine) {
    if (rest.trim() !== "") yield rest.trim();
    return;
  }
  scanner ??= new ObjectScanner();
  yield* scanner.push(rest);
  scanner.end();
}

/** Cuts a text into its objects by counting braces outside of strings; commas and the array's brackets fall away. */
class ObjectScanner {
  #text = "";
  #position = 0;
  #start = -1;
  #depth = 0;
  #inString = false;

  *push(text: string): Iterable<string> {
    this.#text += text;
    for (; this.#position < this.#text.length; this.#position += 1) {
      const char = this.#text[this.#position];
      if (this.#inString) {
        if (char === "\\") this.#position += 1;
        else if (char === '"') this.#inString = false;
      } else if (char === '"' && this.#depth > 0) this.#inString = true;
      else if (char === "{") {
        if (this.#depth === 0) this.#start = this.#position;
        this.#depth += 1;
      } else if (char === "}" && this.#depth > 0) {
        this.#depth -= 1;
        if (this.#depth === 0) yield this.#take();
      } else if (this.#depth === 0 && !/[\s,[\]]/.test(char!)) {
        const near = JSON.stringify(this.#text.slice(this.#position, this.#position + 20));
        throw new Error(`there is ${near} where an object should begin`);
      }
    }
    if (this.#start > 0) this.#drop(this.#start);
    else if (this.#depth === 0) this.#drop(this.#text.length);
  }

  end(): void {
    if (this.#depth > 0) throw new Error("the file ends within an object");
  }

  #take(): string {
    const row = this.#text.slice(this.#start, this.#position + 1);
    this.#start = -1;
    return row;
  }

  /** Forgets what is done with, so that the text does not grow with the file. */
  #drop(count: number): void {
    this.#text = this.#text.slice(count);
    this.#position -= count;
    if (this.#start >= 0) this.#start -= count;
  }
}

/** Makes an event of a row: renames fields to their contract's spelling and writes timestamps as ISO 8601. */
function eventShaper({ map }: Reading, fields: readonly Field[]): (row: string) => string {
  const known = new Set(fields.map(({ name }) => name));
  const byPlain = new Map(fields.map((field) => [plain(field.name), field.name]));
  const mapped = new Map(Object.entries(map).map(([field, column]) => [column, field]));
  const moments = new Map(
    fields.filter(({ kind }) => kind === "timestamp" || kind === "date").map(({ name, kind }) => [name, kind]),
  );
  return (row) => {
    const event = parse(row);
    if (event === undefined) return row.replaceAll(/[\r\n]/g, " ");
    let changed = /[\r\n]/.test(row);
    const shaped: [string, unknown][] = Object.entries(event).map(([column, value]) => {
      const name = mapped.get(column) ?? (known.has(column) ? column : (byPlain.get(plain(column)) ?? column));
      const kind = moments.get(name);
      const moment =
        kind !== undefined && typeof value === "string" ? (JSON.parse(encodeText(kind, value)) as string) : value;
      changed ||= name !== column || moment !== value;
      return [name, moment];
    });
    return changed ? JSON.stringify(Object.fromEntries(shaped)) : row;
  };
}

/** Numbers stay the text they were, so that writing them again loses no digit. */
function parse(row: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(row, (_key, inner: unknown, context?: { source?: string }) =>
      typeof inner === "number" && context?.source !== undefined ? rawJson(context.source) : inner,
    ) as unknown;
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** In the language since 2025 (JSON.parse source text access), in TypeScript's library not yet. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(text: string): unknown };

function isObject(text: string): boolean {
  return parse(text) !== undefined;
}
