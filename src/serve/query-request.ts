import { MillraceError } from "../errors.ts";

export interface QueryLimits {
  /** The longest a query may run, and how long it runs when the request does not say. */
  readonly queryTimeoutMs: number;
  /** The most rows an answer holds. */
  readonly queryMaxRows: number;
}

export interface QueryRequest {
  readonly sql: string;
  readonly params: readonly unknown[];
  /** Undefined: the request does not limit its rows. */
  readonly maxRows: number | undefined;
  readonly timeoutMs: number;
  /** By which its client finds it while it runs. */
  readonly id: string | undefined;
}

/** Reads the body of a query. @throws QUERY_REQUEST_INVALID */
export function readQueryRequest(body: unknown, limits: QueryLimits): QueryRequest {
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw invalid("the body must be a JSON object");
  const {
    sql,
    params = [],
    maxRows,
    timeoutMs = limits.queryTimeoutMs,
    id,
    ...others
  } = body as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw invalid(`"${unknown}" is none of sql, params, maxRows, timeoutMs, id`);
  if (typeof sql !== "string") throw invalid("sql must be text");
  if (sql.length > MOST_SQL) throw invalid(`sql is longer than ${MOST_SQL} characters; values go into params`);
  if (!Array.isArray(params)) throw invalid("params must be an array");
  if (id !== undefined && !(typeof id === "string" && ID.test(id)))
    throw invalid("id must be 1 to 64 letters, digits, hyphens and underscores");
  return {
    sql,
    params,
    maxRows: maxRows === undefined ? undefined : wholeNumber("maxRows", maxRows, 0, limits.queryMaxRows),
    timeoutMs: wholeNumber("timeoutMs", timeoutMs, 1, limits.queryTimeoutMs),
    id,
  };
}

/** Planning a statement of many thousand parts takes longer than any time limit, and cannot be stopped. */
const MOST_SQL = 256 * 1024;
const ID = /^[\w-]{1,64}$/;

function wholeNumber(name: string, value: unknown, least: number, most: number): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
  throw invalid(`${name} must be a whole number from ${least} to ${most}, got ${JSON.stringify(value)}`);
}

function invalid(reason: string): MillraceError {
  return new MillraceError("QUERY_REQUEST_INVALID", { reason });
}
