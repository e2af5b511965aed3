import type { Column } from "../define/project.ts";
import { arrowFormat } from "./arrow-format.ts";
import { typeName } from "./type-names.ts";

/** One way to write a result, piece by piece as its rows come. */
export interface ResultFormat {
  readonly mediaType: string;
  readonly contentType: string;
  /**
   * True: an answer that holds only the first rows says so in itself, so the platform's row limit applies. False: such an
   * answer would pass for the whole, so it is given whole unless the request itself asked for a number of rows.
   */
  readonly tellsTruncation: boolean;
  writer(columns: readonly Column[]): ResultWriter;
}

export interface ResultWriter {
  head(): string | Uint8Array;
  rows(batch: readonly (readonly unknown[])[]): string | Uint8Array;
  tail(summary: ResultSummary): string | Uint8Array;
}

export interface ResultSummary {
  readonly rowCount: number;
  readonly elapsedMs: number;
  readonly truncated: boolean;
}

/*
 * {"columns":[{"name","type"}],"rows":[[…],…],"rowCount":n,"elapsedMs":ms}   and "truncated":true where rows are missing
 */
const json: ResultFormat = {
  mediaType: "application/json",
  contentType: "application/json; charset=utf-8",
  tellsTruncation: true,
  writer(columns) {
    let first = true;
    return {
      head: () =>
        `{"columns":${JSON.stringify(columns.map(({ name, type }) => ({ name, type: typeName(type) })))},"rows":[`,
      rows(batch) {
        if (batch.length === 0) return "";
        const text = JSON.stringify(batch).slice(1, -1);
        const joined = first ? text : `,${text}`;
        first = false;
        return joined;
      },
      tail: ({ rowCount, elapsedMs, truncated }) =>
        `],"rowCount":${rowCount},"elapsedMs":${elapsedMs}${truncated ? ',"truncated":true' : ""}}\n`,
    };
  },
};

/* One object per line. Of columns with the same name, the second is called `name_2` and so on. */
const ndjson: ResultFormat = {
  mediaType: "application/x-ndjson",
  contentType: "application/x-ndjson; charset=utf-8",
  tellsTruncation: false,
  writer(columns) {
    const keys = distinctNames(columns).map((name) => JSON.stringify(name));
    const line = (row: readonly unknown[]) =>
      `{${keys.map((key, i) => `${key}:${JSON.stringify(row[i])}`).join(",")}}\n`;
    return { head: () => "", rows: (batch) => batch.map(line).join(""), tail: () => "" };
  },
};

/*
 * RFC 4180 with a line of names. Null is an empty field and an empty text is `""`; nested values are JSON.
 */
const csv: ResultFormat = {
  mediaType: "text/csv",
  contentType: "text/csv; charset=utf-8; header=present",
  tellsTruncation: false,
  writer(columns) {
    return {
      head: () => `${columns.map(({ name }) => csvField(name)).join(",")}\r\n`,
      rows: (batch) => batch.map((row) => `${row.map(csvField).join(",")}\r\n`).join(""),
      tail: () => "",
    };
  },
};

const FORMATS: readonly ResultFormat[] = [json, ndjson, csv, arrowFormat];

export const MEDIA_TYPES: readonly string[] = FORMATS.map((format) => format.mediaType);

/** The format that an Accept header prefers (RFC 9110, 12.5.1); JSON where it has no preference; undefined: none. */
export function chooseFormat(accept: string | undefined): ResultFormat | undefined {
  if (accept === undefined || accept.trim() === "") return json;
  const ranges = accept.split(",").map((part) => {
    const [range = "", ...parameters] = part.split(";").map((piece) => piece.trim().toLowerCase());
    const q = parameters.find((parameter) => parameter.startsWith("q="));
    return { range, q: q === undefined ? 1 : Number(q.slice(2)) };
  });
  const quality = ({ mediaType }: ResultFormat) => {
    const [type] = mediaType.split("/");
    const match = [mediaType, `${type}/*`, "*/*"].map((range) => ranges.find((r) => r.range === range)).find(Boolean);
    return match?.q ?? 0;
  };
  const best = FORMATS.map((format) => ({ format, q: quality(format) })).reduce((a, b) => (b.q > a.q ? b : a));
  return best.q > 0 ? best.format : undefined;
}

function csvField(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" ? value : typeof value === "object" ? JSON.stringify(value) : String(value);
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function distinctNames(columns: readonly Column[]): string[] {
  const used = new Set<string>();
  return columns.map(({ name }) => {
    let distinct = name;
    for (let n = 2; used.has(distinct); n++) distinct = `${name}_${n}`;
    used.add(distinct);
    return distinct;
  });
}
