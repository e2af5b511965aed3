import { MillraceError } from "../errors.ts";

/**
 * What DuckDB reports with `errors_as_json` on: one JSON object as the message of the error.
 *
 *     {"exception_type":"Binder","exception_message":"…","candidates":"a, b","position":"7","error_subtype":"…","name":"…"}
 */
export interface DuckdbFault {
  /** `Binder`, `Catalog`, `Parser`, `Conversion`, `Out of Memory`, `INTERRUPT`… */
  readonly type: string;
  readonly message: string;
  /** Byte offset into the statement. */
  readonly position?: number;
  /** Names that come close to the one that was not found, nearest first. */
  readonly candidates?: readonly string[];
  readonly name?: string;
}

/** What `error(x)` is reported as. */
const INVALID_INPUT = "Invalid Input";

/** Reads an error of the engine; undefined when it is something else. */
export function readFault(error: unknown): DuckdbFault | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.message.startsWith('{"exception_type"')) {
    const raw = JSON.parse(error.message) as Record<string, string>;
    return {
      type: raw["exception_type"] ?? "",
      message: raw["exception_message"] ?? "",
      ...(raw["position"] === undefined ? {} : { position: Number(raw["position"]) }),
      ...(raw["candidates"] ? { candidates: raw["candidates"].split(/,\s*/) } : {}),
      ...(raw["name"] === undefined ? {} : { name: raw["name"] }),
    };
  }
  // Some faults (of the storage layer, of an interrupted fetch) come as plain text: `Type Error: reason`.
  const plain = /^([A-Z][\w ]*?)(?: Error|!)(?:: )?([\s\S]*)$/.exec(error.message);
  // Faults of the parser's limits come with their JSON form behind that. So does `error(x)` when x looks like one, and that is data.
  const within = plain?.[2] ?? "";
  if (plain?.[1] !== INVALID_INPUT && within.startsWith('{"exception_type"')) return readFault(new Error(within));
  return plain === null ? undefined : { type: plain[1] ?? "", message: plain[2] || error.message };
}

/** The error a user sees for a statement that does not parse or bind. */
export function definitionError(error: unknown, sql: string): unknown {
  const fault = readFault(error);
  if (fault === undefined) return error;
  const code = fault.type === "Parser" ? "SQL_SYNTAX" : "SQL_BIND";
  return sqlError(code, fault, sql, error);
}

/** The error of one of the platform's own statements: everything the engine says. */
export function engineError(error: unknown): unknown {
  return ranError(error, (message) => message);
}

/** The error of a statement as its user sees it: without folders, and without the names that stand in for inputs. */
export function userError(error: unknown): unknown {
  return ranError(error, (message) =>
    message.replaceAll(/(["'])\/[^"']*\/([^"'/]+)\1/g, "$1$2$1").replaceAll(/"?__m_*\d+"?/g, "an input"),
  );
}

function ranError(error: unknown, clean: (message: string) => string): unknown {
  const fault = readFault(error);
  if (fault === undefined) return error;
  const reason = clean(sentence(fault.message));
  switch (fault.type) {
    case "Out of Memory":
      return new MillraceError("QUERY_OUT_OF_MEMORY", { reason }, { cause: error });
    // Says nothing about the statement: somebody stopped it, or the engine closes.
    case "INTERRUPT":
      return new MillraceError("QUERY_CANCELLED", {}, { cause: error });
    // After a fault in its own storage the engine refuses everything; no event is to blame for that.
    case "FATAL":
    case "IO":
      return new MillraceError("ENGINE_IO", { reason }, { cause: error });
    default:
      return sqlError(
        fault.type === "Parser" ? "SQL_SYNTAX" : "SQL_FAILED",
        { ...fault, message: reason },
        undefined,
        error,
      );
  }
}

export function sqlError(
  code: "SQL_SYNTAX" | "SQL_BIND" | "SQL_FAILED",
  fault: DuckdbFault,
  sql: string | undefined,
  cause?: unknown,
): MillraceError {
  // The function is there where a file was given.
  if (fault.type === "Catalog" && /\bname locate_ip does not exist/i.test(fault.message))
    return new MillraceError("GEO_DATABASE_NOT_SET", {}, { cause });
  const at = sql === undefined || fault.position === undefined ? undefined : place(sql, fault.position);
  const details = {
    ...(at ?? {}),
    ...(fault.name === undefined ? {} : { name: fault.name }),
    ...(fault.candidates === undefined ? {} : { candidates: fault.candidates }),
  };
  return new MillraceError(
    code,
    { reason: sentence(fault.message), place: at === undefined ? "" : ` (line ${at.line}, column ${at.column})` },
    { details, cause },
  );
}

/** Line and column, counted from 1 in characters, of a byte offset. */
function place(sql: string, position: number): { line: number; column: number } {
  const before = Buffer.from(sql).subarray(0, position).toString();
  const lines = before.split("\n");
  return { line: lines.length, column: [...(lines.at(-1) ?? "")].length + 1 };
}

/** One line, without the final stop. */
function sentence(message: string): string {
  return (
    message
      .trim()
      // Advice on settings, which nobody can change here.
      .replace(/\s*(?:Use "SET |Possible solutions:)[\s\S]*$/, "")
      .replaceAll(/!?\s*\n+\s*/g, "; ")
      .replace(/[.!;]+$/, "")
  );
}
