import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openFlow, temporaryFolder } from "./open-flow.ts";

type Flow = Awaited<ReturnType<typeof openFlow>>;

const TABLES = ["silver.visits_people", "silver.visits_events", "silver.visits", "gold.plain_events", "gold.plain"];
const GAP_MS = 30 * 60_000;
const MIDNIGHT = Date.parse("2026-01-02T00:00:00Z");

interface Page {
  readonly event_id: string;
  readonly user_id: string | null;
  readonly anonymous_id: string | null;
  readonly at: string | null;
  readonly page: string;
  readonly agent: string | null;
}
interface Alias {
  readonly previous: string | null;
  readonly device: string | null;
  readonly user_id: string | null;
}

/** The sessions of the events by their definition, computed as plainly as can be: person, start, end, events, entry, exit. */
function oracle(pages: ReadonlyMap<string, Page>, aliases: readonly Alias[]): unknown[][] {
  const person = new Map<string, string>();
  const anonymous = (id: string | null) => (id ? `anonymous:${id}` : null);
  const links = [
    ...[...pages.values()].map((p) => [anonymous(p.anonymous_id), p.user_id] as const),
    ...aliases.flatMap((a) => [[a.previous, a.user_id] as const, [anonymous(a.device), a.user_id] as const]),
  ].filter(([a, b]) => a && b) as [string, string][];
  const rank = (id: string) => (id.startsWith("anonymous:") ? `1${id}` : `0${id}`);
  const of = (id: string) => person.get(id) ?? id;
  // Everybody's name is spread along the links until nothing changes.
  for (let changed = true; changed; ) {
    changed = false;
    for (const [a, b] of links) {
      const least = rank(of(a)) < rank(of(b)) ? of(a) : of(b);
      for (const id of [a, b]) {
        if (of(id) === least) continue;
        person.set(id, least);
        changed = true;
      }
    }
  }
  const events = new Map<string, { time: number; page: string }[]>();
  for (const p of pages.values()) {
    const id = p.user_id || anonymous(p.anonymous_id);
    if (!id || !p.at || p.agent?.includes("bot")) continue;
    events.set(of(id), [...(events.get(of(id)) ?? []), { time: Date.parse(p.at), page: p.page }]);
  }
  const sessions: unknown[][] = [];
  for (const [who, list] of events) {
    const sorted = list.sort((a, b) => a.time - b.time);
    let from = 0;
    for (let i = 1; i <= sorted.length; i++) {
      const [before, event] = [sorted[i - 1]!, sorted[i]];
      if (event !== undefined && event.time - before.time <= GAP_MS) continue;
      const iso = (ms: number) => new Date(ms).toISOString();
      sessions.push([who, iso(sorted[from]!.time), iso(before.time), i - from]);
      from = i;
    }
  }
  return sessions.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const SESSIONS = "select person, started_at, ended_at, events from silver.visits";

/** The law: every table is what its own SQL gives over everything; and that is what the definition says. */
async function assertLaw(f: Flow, reach: "acknowledged" | "committed"): Promise<void> {
  for (const name of TABLES) {
    const table = f.project.tables.get(name)!;
    const columns = table.columns.map((c) => `"${c.name}"`).filter((c) => !c.includes("_date"));
    const of = (rows: string) => `select ${columns} from (${rows}) order by all`;
    const scratch = await f.query(of(table.sql), table.inputs, reach);
    assert.deepEqual(await f.query(of(`select * from ${name}`), [name], reach), scratch, `${name}, ${reach}`);
  }
}

async function assertOracle(f: Flow, pages: ReadonlyMap<string, Page>, aliases: readonly Alias[]): Promise<void> {
  const rows = await f.query(SESSIONS, ["silver.visits"]);
  assert.deepEqual(
    rows.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    oracle(pages, aliases),
  );
}

const minutes = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: -90, max: 90 }).map((m) => MIDNIGHT + m * 60_000 * 3) },
  { weight: 1, arbitrary: fc.constantFrom(0, -3_600_000, Date.parse("2099-12-31T23:59:59Z")) },
);
const page = fc.record({
  n: fc.integer({ min: 0, max: 60 }),
  user: fc.option(fc.constantFrom("a", "b", "c"), { freq: 2 }),
  device: fc.option(fc.constantFrom("x", "y", "z", ""), { freq: 3 }),
  time: fc.option(minutes, { freq: 15 }),
  agent: fc.constantFrom(null, null, null, "Mozilla/5.0 (Windows NT 10.0) Firefox/120.0", "Googlebot/2.1"),
});
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("pages" as const), pages: fc.array(page, { minLength: 1, maxLength: 8 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("alias" as const),
      previous: fc.option(fc.constantFrom("a", "b", "c")),
      device: fc.option(fc.constantFrom("x", "y", "z")),
      user: fc.constantFrom("a", "b", "c", "d"),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("refresh" as const), tables: fc.subarray(TABLES, { minLength: 1 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("crash" as const) }) },
);

test("sessions kept up to date event by event are those of all events together, for any history", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (history) => {
      await using dir = await temporaryFolder();
      let f = await openFlow(dir.path, { project: "visits" });
      const pages = new Map<string, Page>();
      const aliases: Alias[] = [];
      try {
        for (const action of history) {
          if (action.do === "pages") {
            const events = action.pages.map(({ n, user, device, time, agent }) => ({
              event_id: `e${n}`,
              user_id: user,
              anonymous_id: device,
              at: time === null ? null : new Date(time).toISOString(),
              page: `/${n % 4}`,
              agent,
            }));
            await f.append("pages", events);
            for (const event of events) if (!pages.has(event.event_id)) pages.set(event.event_id, event);
          } else if (action.do === "alias") {
            const alias = { previous: action.previous, device: action.device, user_id: action.user };
            await f.append("aliases", [alias]);
            aliases.push(alias);
          } else if (action.do === "flush") await f.flow.flush();
          else if (action.do === "refresh") for (const name of action.tables) await f.flow.refresh(name);
          else {
            await f.crash();
            f = await openFlow(dir.path, { project: "visits" });
          }
        }
        await assertLaw(f, "acknowledged");
        await assertOracle(f, pages, aliases);
        await f.flow.flush();
        for (const name of TABLES) await f.flow.refresh(name);
        await assertLaw(f, "committed");
        await assertOracle(f, pages, aliases);
      } finally {
        await f.crash();
      }
    }),
    { numRuns: Number(process.env["RUNS"] ?? 8), ...(process.env["SEED"] && { seed: Number(process.env["SEED"]) }) },
  );
});

const person = (n: number, user: string, at: string, more: Partial<Page> = {}): Page => ({
  ...{ event_id: `e${n}`, user_id: user, anonymous_id: null, at, page: `/${n}`, agent: null },
  ...more,
});

async function refreshed(f: Flow): Promise<string[]> {
  await f.flow.flush();
  const kinds: string[] = [];
  for (const name of TABLES.slice(0, 3)) kinds.push((await f.flow.refresh(name)).kind);
  return kinds;
}

const filesOf = (f: Flow, table: string) => f.flow.lake.get(table).snapshot.files.map(({ path }) => path);

test("a clock that is years off touches no file of another day, and a late event only those of its session", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "visits" });
  const days = ["03", "04", "05"].map((day, i) => person(i, "a", `2026-01-${day}T12:00:00Z`));
  await f.append("pages", [...days, person(3, "b", "2026-01-05T23:50:00Z"), person(4, "b", "2026-01-06T00:10:00Z")]);
  await refreshed(f);
  const before = filesOf(f, "silver.visits_events");
  const sessions = filesOf(f, "silver.visits");

  await f.append("pages", [person(10, "a", "2099-01-01T00:00:00Z"), person(11, "a", "1970-01-01T00:00:00Z")]);
  assert.deepEqual(await refreshed(f), ["none", "by", "by"]);
  const after = filesOf(f, "silver.visits_events");
  assert.deepEqual(
    before.filter((path) => !after.includes(path)),
    [],
  );
  assert.deepEqual(
    sessions.filter((path) => !filesOf(f, "silver.visits").includes(path)),
    [],
  );

  // Behind the beginning of b's session: its rows stay. Before it: they have another session now, on both sides of midnight.
  await f.append("pages", [person(12, "b", "2026-01-06T00:00:00Z")]);
  await refreshed(f);
  assert.deepEqual(
    before.filter((path) => !filesOf(f, "silver.visits_events").includes(path)),
    [],
  );
  await f.append("pages", [person(13, "b", "2026-01-05T23:40:00Z")]);
  await refreshed(f);
  const gone = before.filter((path) => !filesOf(f, "silver.visits_events").includes(path));
  assert.deepEqual(gone.map((path) => path.slice(0, "event_date=2026-01-05".length)).sort(), [
    "event_date=2026-01-05",
    "event_date=2026-01-06",
  ]);
  assert.deepEqual(await f.query(`${SESSIONS} where person = 'b'`, ["silver.visits"], "committed"), [
    ["b", "2026-01-05T23:40:00.000Z", "2026-01-06T00:10:00.000Z", 4],
  ]);
});

test("a link that comes later gives earlier events to the person, and joins the sessions it brings together", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "visits" });
  const device = { user_id: null, anonymous_id: "x" };
  await f.append("pages", [
    person(1, "", "2026-01-03T12:00:00Z", device),
    person(2, "", "2026-01-04T12:00:00Z", device),
    person(3, "b", "2026-01-04T12:20:00Z"),
  ]);
  await refreshed(f);
  await f.append("aliases", [{ previous: null, device: "x", user_id: "b" }]);
  const linked = [
    ["b", "2026-01-03T12:00:00.000Z", "2026-01-03T12:00:00.000Z", 1],
    ["b", "2026-01-04T12:00:00.000Z", "2026-01-04T12:20:00.000Z", 2],
  ];
  const sql = `${SESSIONS} order by started_at`;
  assert.deepEqual(await f.query(sql, ["silver.visits"]), linked, "at once");
  assert.deepEqual(await refreshed(f), ["by", "by", "by"]);
  assert.deepEqual(await f.query(sql, ["silver.visits"], "committed"), linked);

  await f.append("aliases", [{ previous: "b", device: null, user_id: "a" }]);
  await refreshed(f);
  const people = await f.query("select id, person from silver.visits_people order by id", ["silver.visits_people"]);
  assert.deepEqual(
    people,
    [
      ["a", "a"],
      ["anonymous:x", "a"],
      ["b", "a"],
    ],
    "the least user id names the person",
  );
});

test("one person with half of all events, and events of nobody, are computed as all others are", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "visits" });
  const at = (n: number) => new Date(MIDNIGHT + n * 20 * 60_000).toISOString();
  const many = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => {
      const n = from + i;
      return n % 2 === 0 ? person(n, "whale", at(n)) : person(n, n % 3 === 0 ? "" : `u${n % 500}`, at(n % 97));
    });
  await f.append("pages", many(0, 1_000));
  await refreshed(f);
  await f.append("pages", many(1_000, 1_020));
  assert.deepEqual(await refreshed(f), ["none", "by", "by"]);
  for (const name of TABLES) await f.flow.refresh(name);
  await assertLaw(f, "committed");
  const unnamed = "select count(*), count(session_id) from silver.visits_events where user_id = ''";
  assert.deepEqual(await f.query(unnamed, ["silver.visits_events"], "committed"), [[170, 0]]);
});
