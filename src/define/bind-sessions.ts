import type { Relations } from "./bind-table.ts";
import { didYouMean } from "./nearest.ts";
import { type Problem, problem } from "./problem.ts";
import type { ColumnType } from "./project.ts";
import type { SessionsRole } from "./read-sessions.ts";
import { duckdbType } from "./types.ts";

const IDS = new Set(["string", "integer", "long", "short", "byte"]);
const TIMES = new Set(["timestamp", "date"]);

/** What of the options does not fit the streams and tables they name. Told once, by the table that reads them first. */
export function bindSessions({ part, plan }: SessionsRole, relations: Relations): Problem[] {
  const { from, tables } = plan;
  if (part === "sessions" || (part === "events" && tables.people !== undefined)) return [];
  const subject = `sessions "${plan.name}"`;
  const problems: Problem[] = [];
  const isRowByRow = (name: string, option: string) => {
    if (relations.kind(name).kind !== "other") return true;
    const got = `"${name}", whose rows can change or be removed`;
    const allowed = "a stream, or a table that takes a stream row by row and has no key";
    problems.push(problem("OPTION_INVALID", { option, subject, got, allowed }));
    return false;
  };
  const check = (
    owner: string,
    option: string,
    column: string | undefined,
    fits: (type: ColumnType) => boolean,
    allowed: string,
  ) => {
    if (column === undefined) return;
    const columns = relations.columns(owner);
    const found = columns.find(({ name }) => name === column);
    const names = columns.map(({ name }) => name);
    if (found === undefined) {
      const nearest = didYouMean(column, names);
      problems.push(problem("COLUMN_UNKNOWN", { option, subject, column, nearest, allowed: names.join(", ") }));
    } else if (!fits(found.type)) {
      problems.push(problem("COLUMN_UNFIT", { option, subject, column, got: duckdbType(found.type), allowed }));
    }
  };
  const isId = ({ kind }: ColumnType) => IDS.has(kind);
  const isText = ({ kind }: ColumnType) => kind === "string";
  if (isRowByRow(from, "from")) {
    check(from, "user", plan.user, isId, "text or a whole number");
    check(from, "anonymous", plan.anonymous, isId, "text or a whole number");
    check(from, "time", plan.time, ({ kind }) => TIMES.has(kind), "a timestamp or a date");
    check(from, "page", plan.page, isText, "text");
    check(from, "referrer", plan.referrer, isText, "text");
    check(from, "userAgent", plan.userAgent, isText, "text");
    check(from, "ip", plan.ip, isText, "text");
    for (const { name } of relations.columns(from)) {
      if (!MADE.has(name.toLowerCase())) continue;
      const got = "a column that sessions make themselves";
      problems.push(problem("COLUMN_UNFIT", { option: "from", subject, column: name, got, allowed: "free" }));
    }
  }
  for (const [i, link] of plan.links.entries()) {
    if (!isRowByRow(link.from, `links[${i}].from`)) continue;
    for (const option of ["user", "anonymous", "previous"] as const)
      check(link.from, `links[${i}].${option}`, link[option], isId, "text or a whole number");
  }
  return problems;
}

/** Columns that the events' table has beside those of its events. */
const MADE = new Set(["person", "session_start", "session_id", "event_date"]);
