import { type Definition, define } from "./definition.ts";

export interface SessionsOptions {
  /** The stream, or append table, whose events are put into sessions. */
  readonly from: string;
  /** Column with the id of a known user; it may be null where `anonymous` is given. */
  readonly user: string;
  /** Column with the id of a device or browser, known before the user is. An event that has both links the two, for events before it as well. */
  readonly anonymous?: string;
  /** Column with the time of the event: a timestamp or a date. */
  readonly time: string;
  /** A session ends when its person is silent for longer: `"30m"`. */
  readonly gap: string;
  /** Streams and append tables whose events link ids and are in no session themselves, such as identify and alias calls. */
  readonly links?: readonly SessionLink[];
  /** Column with the page or screen: gives `entry` and `exit`, the first and last one of the session. */
  readonly page?: string;
  /** Column with the referrer: gives `referrer`, the first one of the session. */
  readonly referrer?: string;
  /** Column with the user agent: gives `device`, `os` and `browser` of the session, and leaves crawlers out of sessions. */
  readonly userAgent?: string;
  /** Column with the address: gives `country` (ISO code), `region` and `city` of the session's first one, by `locate_ip`. */
  readonly ip?: string;
  /** Further columns of the sessions table: name -> aggregate over the columns of a session's events. */
  readonly columns?: Readonly<Record<string, string>>;
}

/** Says with each of its events that two ids are one person. */
export interface SessionLink {
  readonly from: string;
  /** Column with the user's id. */
  readonly user: string;
  /** Column with an anonymous id that is this user. */
  readonly anonymous?: string;
  /** Column with an id under which this user was known before. */
  readonly previous?: string;
}

export type SessionsDefinition = Definition<"sessions", SessionsOptions>;

/**
 * Defines sessions: `export const visits = sessions("silver.visits", { from: "pages", user: "user_id", time: "at", gap: "30m" })`.
 *
 * It makes tables: `silver.visits` with a row per session, `silver.visits_events` with every event, its person and its session's id, and
 * with `anonymous` or `links` also `silver.visits_people`, which person each linked id is. They are right for late events, events out of
 * order, links that come later and sessions of any length. Mistakes are reported when the project loads.
 */
export function sessions(name: string, options: SessionsOptions): SessionsDefinition {
  return define("sessions", name, options, sessions);
}
