/**
 * The tables of sessions, brought up to date by what new events touch (docs/decisions/015-sessions.md).
 *
 * Each table has rows under a key, and what changes is named by three things: rows that come (`fresh`), keys whose stored rows go (`dead`),
 * and the files that may hold those. The law is that the outcome equals the table's own SQL over everything.
 *
 * - *people*: new links are joined with the persons that their ids had; ids of persons that are no longer named so change.
 * - *events*: a new event can only join what its person did within `gap` of it. Near events of stored sessions stand for them as spans,
 *   new events are points, and spans and points of a person that lie within `gap` of each other are one session. Stored rows are written
 *   again only where their session has another name now: its start is earlier, it was joined to an earlier one, or its person changed.
 * - *sessions*: the sessions whose events changed, computed from those events.
 */
import type { Project, RefreshTable } from "../define/project.ts";
import type { SessionsPlan } from "../define/read-sessions.ts";
import { edgesSql, gapSql, linksSql, timeSql, toldSql } from "../define/sessions-sql.ts";
import { quoteIdentifier, quoteName } from "../define/sql-text.ts";
import type { LocalSql, Relation, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile } from "../lake/delta-table.ts";
import { DAY_MS, Days } from "./days.ts";
import type { LakeTables } from "./lake-tables.ts";
import { inputVersion } from "./progress.ts";
import { type Picture, parseBronze, sourceTable } from "./relations.ts";
import { shaped } from "./shaped.ts";

export type SessionPlan = { readonly kind: "none" } | { readonly kind: "full"; readonly reason: string } | RowsPlan;

export interface RowsPlan {
  readonly kind: "rows";
  /** Column by which `dead` names stored rows. */
  readonly key: string;
  readonly fresh: Relation;
  readonly dead: Relation;
  /** All files with rows of `dead`, and maybe some without. */
  readonly replaced: readonly DataFile[];
}

export interface SessionRefreshOptions {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly local: LocalSql;
}

/** With more new rows than stored ones divided by this, computing everything is no more work. */
const SHARE = 3;
/** Fewer rows than these are never worth a full computation of a large table. */
const FEW_ROWS = 100_000;

export class SessionRefresh {
  readonly #o: SessionRefreshOptions;
  readonly #plans = new WeakMap<Picture, Map<string, Promise<SessionPlan>>>();
  #tables = 0;

  constructor(options: SessionRefreshOptions) {
    this.#o = options;
  }

  /** What brings the table from what it reflects to what the picture shows; lasts as long as the picture. */
  plan(table: RefreshTable, picture: Picture): Promise<SessionPlan> {
    const plans = this.#plans.get(picture) ?? new Map<string, Promise<SessionPlan>>();
    this.#plans.set(picture, plans);
    const plan = plans.get(table.name) ?? this.#plan(table, picture);
    plans.set(table.name, plan);
    return plan;
  }

  /** The table's rows with a plan worked in; of the files given, or of all that are stored. */
  rows(table: RefreshTable, picture: Picture, plan: RowsPlan, files?: readonly DataFile[]): Statement {
    const stored = this.#stored(table.name, picture, files);
    return {
      sql: `select * from stored anti join dead using (${plan.key}) union all by name select * from fresh`,
      inputs: new Map([
        ["stored", stored],
        ["dead", plan.dead],
        ["fresh", plan.fresh],
      ]),
    };
  }

  async #plan(table: RefreshTable, picture: Picture): Promise<SessionPlan> {
    const role = table.sessions;
    if (role === undefined) throw new MillraceError("INTERNAL", { what: `planning sessions of ${table.name}` });
    const changes = await this.#changes(table, picture);
    if (changes.full !== undefined) return { kind: "full", reason: changes.full };
    if (changes.inputs.size === 0) return { kind: "none" };
    switch (role.part) {
      case "people":
        return this.#people(table, role.plan, picture, changes);
      case "events":
        return this.#events(table, role.plan, picture, changes);
      case "sessions":
        return this.#sessions(table, role.plan, picture, changes);
    }
  }

  async #people(
    table: RefreshTable,
    sessions: SessionsPlan,
    picture: Picture,
    { inputs }: Changes,
  ): Promise<SessionPlan> {
    const people = this.#stored(table.name, picture);
    const rows = new Map([...inputs].map(([name, change]) => [name, change.rows]));
    const l = await this.#keep(picture, linksSql(sessions, quoteName, new Set(rows.keys())), rows);
    if ((await this.#count(l)) === 0) return { kind: "none" };
    // The persons that the linked ids had are joined with them as ids themselves.
    const known = "select id, person from people where id in (select a from l union select b from l)";
    const g = await this.#keep(
      picture,
      `with edges as (${edgesSql(`select a, b from l union all (${known.replace("id, person", "id as a, person as b")})`)})
       select distinct unnest(ids) as id, unnest(connected_ids(ids, others)) as person
       from (select list(a) as ids, list(b) as others from edges)`,
      { people, l },
    );
    const fresh = await this.#keep(
      picture,
      `select f.id, f.person
       from (select id, person from g
             union select s.id, g.person from people s join g on g.id = s.person where g.person <> s.person) f
       anti join people s on s.id = f.id and s.person = f.person`,
      { people, g },
    );
    if ((await this.#count(fresh)) === 0) return { kind: "none" };
    const dead = await this.#keep(picture, "select id from people semi join fresh using (id)", { people, fresh });
    const replaced = (await this.#count(dead)) === 0 ? [] : picture.snapshot(table.name).files;
    return { kind: "rows", key: "id", fresh, dead, replaced };
  }

  async #events(table: RefreshTable, sessions: SessionsPlan, picture: Picture, changes: Changes): Promise<SessionPlan> {
    const time = timeSql(sessions);
    const gap = gapSql(sessions);
    const stored = this.#stored(table.name, picture);
    const { files } = picture.snapshot(table.name);
    const { people: peopleTable } = sessions.tables;
    const people = peopleTable === undefined ? undefined : await picture.relation({ name: peopleTable });
    const arrived =
      changes.inputs.get(sessions.from)?.rows ??
      view("select * from whole where false", { whole: await picture.relation({ name: sessions.from }) });
    // The new events, each a point of its person.
    const points = await this.#keep(
      picture,
      `select *, row_number() over () as _point, ${time} as _time
       from (${toldSql(sessions, "arrived", people && "people")})`,
      { arrived, ...(people && { people }) },
    );
    const moved = await this.#moved(table, sessions, picture, changes);
    if (moved === "full") return { kind: "full", reason: `what ${peopleTable} was is not kept` };
    if (moved === undefined && (await this.#count(points)) === 0) return { kind: "none" };
    // Sessions of persons that are somebody else now, as spans of those.
    const spans =
      moved &&
      (await this.#keep(
        picture,
        `select session_id, any_value(session_start) as start, m.new as person, min(${time}) as lo, max(${time}) as hi
         from stored join moved m on m.old = stored.person group by session_id, m.new`,
        { stored, moved },
      ));
    const came = [
      "select _time as lo, _time as hi, person from points where person is not null",
      ...(spans ? ["select lo, hi, person from spans"] : []),
    ].join(" union all ");
    const sources = { points, ...(spans && { spans }) };
    const touched = await this.#days(`select lo, hi from (${came})`, sources);
    const near = this.#stored(table.name, picture, touched.filesNear(files, sessions.time, sessions.gapMs));
    const r = await this.#keep(
      picture,
      `with items as (
         select null::varchar as session_id, _point, person, _time as start, _time as lo, _time as hi
         from points where person is not null
         union all
         select session_id, null, person, any_value(session_start), min(${time}), max(${time})
         from near where person in (select person from (${came})) group by session_id, person
         ${spans ? "union all select session_id, null, person, start, lo, hi from spans" : ""}
       ),
       broken as (
         select *, case when max(hi) over (partition by person order by lo rows between unbounded preceding and 1 preceding)
           >= lo - ${gap} then 0 else 1 end as _break
         from items
       ),
       islands as (select *, sum(_break) over (partition by person order by lo) as _island from broken)
       select session_id, _point, person, start, min(start) over (partition by person, _island) as session_start
       from islands`,
      { ...sources, near },
    );
    const id = (alias: string) => `${alias}.person || '@' || epoch_us(${alias}.session_start)`;
    const dead = await this.#keep(
      picture,
      `select session_id, person, session_start, start from r where session_id is not null and session_id <> ${id("r")}`,
      { r },
    );
    const died = await this.#days("select start as lo, start as hi from dead", { dead });
    const replaced = died.filesNear(files, "session_start", 0);
    const fresh = {
      sql: shaped(
        table,
        `select p.*, r.session_start, ${id("r")} as session_id from points p left join r on r._point = p._point
         union all by name
         select g.* replace (d.person as person, d.session_start as session_start, ${id("d")} as session_id)
         from gone g join dead d on d.session_id = g.session_id`,
      ),
      inputs: { points, r, dead, gone: this.#stored(table.name, picture, replaced) },
    };
    return {
      kind: "rows",
      key: "session_id",
      // A query may read them several times, by way of the sessions.
      fresh: picture.showsStaged ? await this.#keep(picture, fresh.sql, fresh.inputs) : view(fresh.sql, fresh.inputs),
      dead,
      replaced,
    };
  }

  /** `old`, `new`: persons that are named otherwise than when the table was last refreshed. Undefined: none. */
  async #moved(
    table: RefreshTable,
    sessions: SessionsPlan,
    picture: Picture,
    changes: Changes,
  ): Promise<Relation | "full" | undefined> {
    const name = sessions.tables.people;
    const change = name === undefined ? undefined : changes.inputs.get(name);
    if (name === undefined || change === undefined) return undefined;
    const { lake } = this.#o;
    const people = lake.get(name);
    const reflected = inputVersion(picture.snapshot(table.name), name);
    const then = await people.delta.snapshot({ version: reflected });
    if (then === undefined) return "full";
    const moved = await this.#keep(
      picture,
      `select distinct coalesce(b.person, a.id) as old, a.person as new
       from (select id, person from people semi join changed using (id)) a left join before b on b.id = a.id
       where coalesce(b.person, a.id) <> a.person`,
      { people: await picture.relation({ name }), changed: change.rows, before: lake.relation(people, then) },
    );
    return (await this.#count(moved)) === 0 ? undefined : moved;
  }

  async #sessions(
    table: RefreshTable,
    sessions: SessionsPlan,
    picture: Picture,
    changes: Changes,
  ): Promise<SessionPlan> {
    const { events } = sessions.tables;
    const change = changes.inputs.get(events);
    if (change === undefined) return { kind: "none" };
    const gone = change.plan && view("select session_id, start as session_start from dead", { dead: change.plan.dead });
    const rows = { changed: change.rows, ...(gone && { gone }) };
    const touched = await this.#keep(
      picture,
      `select distinct session_id, session_start from changed where session_id is not null
       ${gone ? "union select session_id, session_start from gone" : ""}`,
      rows,
    );
    if ((await this.#count(touched)) === 0) return { kind: "none" };
    const days = await this.#days("select session_start as lo, session_start as hi from touched", { touched });
    const files = days.filesNear(picture.snapshot(events).files, "session_start", 0);
    const owner = this.#o.project.tables.get(events);
    const part: Relation =
      change.plan && owner?.mode === "refresh"
        ? { kind: "view", statement: this.rows(owner, picture, change.plan, files) }
        : this.#stored(events, picture, files);
    const theirs = view("select * from part semi join touched using (session_id)", { part, touched });
    return {
      kind: "rows",
      key: "session_id",
      fresh: { kind: "view", statement: { sql: shaped(table, table.sql), inputs: new Map([[events, theirs]]) } },
      dead: touched,
      replaced: days.filesNear(picture.snapshot(table.name).files, "started_at", 0),
    };
  }

  /** What has changed in each input since the table was refreshed; inputs without a change are left out. */
  async #changes(table: RefreshTable, picture: Picture): Promise<Changes> {
    const { project, lake } = this.#o;
    const snapshot = picture.snapshot(table.name);
    const inputs = new Map<string, Change>();
    let comes = 0;
    for (const input of table.inputs) {
      const source = sourceTable(project, input);
      const reflected = inputVersion(snapshot, input);
      const { version } = picture.snapshot(source);
      if (reflected < 0) return { inputs, full: `${input} was never read` };
      const files =
        version > reflected ? await lake.get(source).delta.changes(reflected, version) : { added: [], removed: [] };
      if (files === undefined) return { inputs, full: `what changed in ${input} is not kept` };
      const rewritten = rowCount(files.added);
      if (
        table.sessions?.part === "sessions" &&
        rewritten > FEW_ROWS &&
        rewritten > rowCount(picture.snapshot(source).files) / 2
      )
        return { inputs, full: `most of ${input} was written again` };
      const upstream = project.tables.get(input);
      const isSessions = upstream?.mode === "refresh" && upstream.sessions !== undefined;
      if (!isSessions && files.removed.length > 0) return { inputs, full: `rows of ${input} were removed` };
      if (files.removed.some((file) => lake.isDamaged(lake.get(source), file)))
        return { inputs, full: `${input} had a damaged file` };
      const plan = isSessions && picture.showsStaged ? await this.plan(upstream, picture) : undefined;
      if (plan?.kind === "full") return { inputs, full: `${input} is recomputed as well` };
      const staged = picture.stagedRows(input);
      const changed = [...files.added, ...files.removed];
      const rows: Relation[] = staged.map((sql) => ({ kind: "native", sql }));
      if (changed.length > 0) {
        const stored = this.#stored(source, picture, changed);
        const stream = project.streams.get(input);
        const isBronze = stream && source === `bronze.${input}`;
        rows.push(isBronze ? { kind: "view", statement: parseBronze(stream, stored) } : stored);
      }
      if (plan?.kind === "rows") rows.push(plan.fresh);
      if (rows.length === 0) continue;
      // Files written again hold mostly rows that were there before.
      comes += rowCount(files.added) - rowCount(files.removed);
      inputs.set(input, { rows: together(rows), plan: plan?.kind === "rows" ? plan : undefined });
    }
    if (comes > FEW_ROWS && comes > rowCount(snapshot.files) / SHARE)
      return { inputs, full: "most of its rows are new" };
    return { inputs, full: undefined };
  }

  #stored(name: string, picture: Picture, files?: readonly DataFile[]): Relation {
    const snapshot = picture.snapshot(name);
    return this.#o.lake.relation(this.#o.lake.get(name), snapshot, files ?? snapshot.files);
  }

  /** Rows computed once, in the engine's memory until the picture is released. */
  async #keep(
    picture: Picture,
    sql: string,
    inputs: Readonly<Record<string, Relation>> | ReadonlyMap<string, Relation>,
  ): Promise<Relation> {
    const { local } = this.#o;
    const name = `stage.${quoteIdentifier(`sessions ${this.#tables++}`)}`;
    await local.run(`create table ${name} as ${await local.compile(statement(sql, inputs))}`);
    picture.onRelease(() => {
      // An engine that is closing takes the table with it.
      local.run(`drop table if exists ${name}`).catch(() => undefined);
    });
    return { kind: "native", sql: `select * from ${name}` };
  }

  async #count(kept: Relation): Promise<number> {
    const sql = await this.#o.local.compile(statement("select count(*) as n from kept", { kept }));
    const [row] = await this.#o.local.rows(sql);
    return Number(row?.["n"]);
  }

  /** The days that spans `lo`, `hi` lie on. */
  async #days(spans: string, inputs: Readonly<Record<string, Relation>>): Promise<Days> {
    const day = (column: string) => `cast(floor(epoch_ms(${column}) / ${DAY_MS}) as bigint)`;
    const sql = `select distinct ${day("lo")} as lo, ${day("hi")} as hi from (${spans})`;
    const rows = await this.#o.local.rows(await this.#o.local.compile(statement(sql, inputs)));
    return new Days(rows.map(({ lo, hi }) => [Number(lo), Number(hi)] as const));
  }
}

interface Change {
  readonly rows: Relation;
  /** Where the input is a table of sessions that is behind what the picture shows. */
  readonly plan: RowsPlan | undefined;
}

interface Changes {
  readonly inputs: ReadonlyMap<string, Change>;
  /** Why everything has to be computed. */
  readonly full: string | undefined;
}

function statement(sql: string, inputs: Readonly<Record<string, Relation>> | ReadonlyMap<string, Relation>): Statement {
  return { sql, inputs: inputs instanceof Map ? inputs : new Map(Object.entries(inputs)) };
}

function view(sql: string, inputs: Readonly<Record<string, Relation>>): Relation {
  return { kind: "view", statement: statement(sql, inputs) };
}

function together(rows: readonly Relation[]): Relation {
  const [only] = rows;
  if (rows.length === 1 && only !== undefined) return only;
  const names = rows.map((_, i) => `r${i}`);
  const sql = names.map((name) => `select * from ${name}`).join(" union all by name ");
  return view(sql, Object.fromEntries(rows.map((relation, i) => [`r${i}`, relation])));
}

function rowCount(files: readonly DataFile[]): number {
  return files.reduce((sum, { stats }) => sum + (stats?.rowCount ?? 0), 0);
}
