import type { Definition } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { invalidOption, isRecord, isTextRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import { nameProblems, type TableDraft } from "./read-table.ts";
import type { SessionLink } from "./sessions.ts";
import { eventsSql, peopleSql, sessionsSql } from "./sessions-sql.ts";
import { quoteIdentifier } from "./sql-text.ts";

/** What a definition of sessions says, its options being of the right shape. */
export interface SessionsPlan {
  readonly name: string;
  readonly from: string;
  readonly user: string;
  readonly anonymous: string | undefined;
  readonly time: string;
  readonly gapMs: number;
  readonly links: readonly SessionLink[];
  readonly page: string | undefined;
  readonly referrer: string | undefined;
  readonly userAgent: string | undefined;
  readonly ip: string | undefined;
  readonly columns: Readonly<Record<string, string>>;
  /** Names of the tables it makes; no table of people where nothing links ids. */
  readonly tables: { readonly people: string | undefined; readonly events: string; readonly sessions: string };
}

/** Which of the tables of a definition of sessions a table is. */
export interface SessionsRole {
  readonly part: "people" | "events" | "sessions";
  readonly plan: SessionsPlan;
}

const OPTIONS = ["from", "user", "anonymous", "time", "gap", "links", "page", "referrer", "userAgent", "ip", "columns"];
const LINK_OPTIONS = ["from", "user", "anonymous", "previous"];
/** A gap below a millisecond would be none, and one beyond a year makes one session of all. */
const MOST_GAP_MS = 366 * 86_400_000;

/** The drafts of the tables that sessions are made of, or everything that is wrong with the options. */
export function readSessions(definition: Definition, file: string): readonly TableDraft[] | readonly Problem[] {
  const { name, options } = definition;
  const subject = `sessions "${name}"`;
  const problems = nameProblems(name);
  if (!isRecord(options))
    return [...problems, invalidOption(subject, "the second argument", options, "an object of options")];
  problems.push(...unknownOptions(subject, options, OPTIONS));
  const text = (owner: Record<string, unknown>, option: string, allowed: string, needed: boolean, prefix = "") => {
    const value = owner[option];
    if (value === undefined && needed)
      problems.push(problem("OPTION_MISSING", { subject, option: prefix + option, why: `it is ${allowed}` }));
    else if (value !== undefined && (typeof value !== "string" || value.trim() === ""))
      problems.push(invalidOption(subject, prefix + option, value, allowed));
  };
  text(options, "from", "the stream or append table whose events are put into sessions", true);
  text(options, "user", "the column with the user's id", true);
  text(options, "time", "the column with the time of the event", true);
  text(options, "gap", "the silence that ends a session, such as 30m", true);
  for (const option of ["anonymous", "page", "referrer", "userAgent", "ip"]) text(options, option, "a column", false);
  const gapMs = typeof options["gap"] === "string" ? parseDuration(options["gap"]) : undefined;
  if (typeof options["gap"] === "string" && !(gapMs !== undefined && gapMs > 0 && gapMs <= MOST_GAP_MS))
    problems.push(invalidOption(subject, "gap", options["gap"], "a duration above 0 and up to 366d, such as 30m"));
  const { links = [], columns = {} } = options;
  if (!Array.isArray(links) || !links.every(isRecord)) {
    problems.push(
      invalidOption(subject, "links", links, 'a list such as [{ from: "aliases", user: "…", previous: "…" }]'),
    );
  } else {
    for (const [i, link] of (links as Record<string, unknown>[]).entries()) {
      const prefix = `links[${i}].`;
      problems.push(...unknownOptions(`${prefix.slice(0, -1)} of ${subject}`, link, LINK_OPTIONS));
      text(link, "from", "a stream or append table", true, prefix);
      text(link, "user", "the column with the user's id", true, prefix);
      text(link, "anonymous", "a column", false, prefix);
      text(link, "previous", "a column", false, prefix);
      if (link["anonymous"] === undefined && link["previous"] === undefined) {
        const why = "a link joins the user with an anonymous id or with a previous one";
        problems.push(problem("OPTION_MISSING", { subject, option: `${prefix}anonymous or ${prefix}previous`, why }));
      }
    }
  }
  if (!isTextRecord(columns))
    problems.push(invalidOption(subject, "columns", columns, 'aggregates by name: { buys: "count(*) filter (…)" }'));
  if (problems.length > 0) return problems;
  const given = options as unknown as Omit<SessionsPlan, "name" | "tables" | "gapMs">;
  const linked = given.anonymous !== undefined || (links as unknown[]).length > 0;
  const plan: SessionsPlan = {
    name,
    from: given.from,
    user: given.user,
    anonymous: given.anonymous,
    time: given.time,
    gapMs: gapMs ?? 0,
    links: links as readonly SessionLink[],
    page: given.page,
    referrer: given.referrer,
    userAgent: given.userAgent,
    ip: given.ip,
    columns: columns as Readonly<Record<string, string>>,
    tables: { people: linked ? `${name}_people` : undefined, events: `${name}_events`, sessions: name },
  };
  const draft = (table: string, sql: string, part: SessionsRole["part"], partitionBy: Record<string, string>) => ({
    ...{ name: table, sql, checks: {}, partitionBy, refresh: undefined, key: [], latest: undefined },
    ...{ tombstone: undefined, serve: undefined, file, sessions: { part, plan } },
  });
  const { people, events } = plan.tables;
  return [
    ...(people === undefined ? [] : [draft(people, peopleSql(plan), "people", {})]),
    draft(events, eventsSql(plan), "events", { event_date: `date(${quoteIdentifier(plan.time)})` }),
    draft(name, sessionsSql(plan), "sessions", { start_date: "date(started_at)" }),
  ];
}
