import assert from "node:assert/strict";
import { test } from "node:test";
import { definitionHash } from "../../src/flow/lake-tables.ts";
import { openFlow, temporaryFolder } from "./open-flow.ts";

/** A database that puts 1.x.x.x somewhere, as `openGeoDatabase` gives one. */
const geo = (country: string, name: string) => ({
  name,
  locate: (ip: string) =>
    ip.startsWith("1.")
      ? {
          ...{ country_code: country, country, region_code: null, region: "North", city: "Town", postal_code: null },
          ...{ continent_code: "EU", latitude: 1, longitude: 2, accuracy_km: 3, time_zone: "Europe/London" },
        }
      : null,
});

const view = (event_id: string, user_id: string, minute: number, ip: string | null) => ({
  ...{ event_id, user_id, agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", ip },
  at: new Date(Date.parse("2026-01-02T10:00:00Z") + minute * 60_000).toISOString(),
});

const SESSIONS = "select person, events, browser, country, region, city from silver.visits order by person";
const TABLES = ["silver.visits_events", "silver.visits", "gold.days"];
const PLACED = "select user_id, country from silver.placed order by all";

test("sessions say where their first address is, and a new file computes them again, once, but no row that is stored for good", async () => {
  await using dir = await temporaryFolder();
  const hashes: string[][] = [];
  const hashesOf = (f: Awaited<ReturnType<typeof openFlow>>) =>
    ["silver.visits", "silver.visits_events", "gold.days"].map((name) => definitionHash(f.project.tables.get(name)!));
  {
    await using f = await openFlow(dir.path, { project: "located", geo: geo("GB", "City 1") });
    // An address that is not known is the first all the same, and a missing one is none.
    await f.append("pages", [
      view("1", "ann", 0, "1.1.1.1"),
      view("2", "ann", 5, "2.2.2.2"),
      view("3", "bob", 0, "10.0.0.1"),
    ]);
    await f.append("pages", [view("4", "cyd", 0, null), view("5", "cyd", 1, "1.1.1.1")]);
    const wanted = [
      ["ann", 2, "Firefox", "GB", "North", "Town"],
      ["bob", 1, "Firefox", null, null, null],
      ["cyd", 2, "Firefox", "GB", "North", "Town"],
    ];
    assert.deepEqual(await f.query(SESSIONS, ["silver.visits"]), wanted, "over what is only acknowledged");
    await f.flow.flush();
    for (const name of TABLES) await f.flow.refresh(name);
    assert.deepEqual(await f.query(SESSIONS, ["silver.visits"], "committed"), wanted);
    hashes.push(hashesOf(f));
    await f.close();
  }
  {
    await using f = await openFlow(dir.path, { project: "located", geo: geo("IE", "City 2") });
    hashes.push(hashesOf(f));
    await f.append("pages", [view("6", "dan", 0, "1.1.1.1")]);
    const wanted = [
      ["ann", 2, "Firefox", "IE", "North", "Town"],
      ["bob", 1, "Firefox", null, null, null],
      ["cyd", 2, "Firefox", "IE", "North", "Town"],
      ["dan", 1, "Firefox", "IE", "North", "Town"],
    ];
    await f.flow.flush();
    for (const name of TABLES) await f.flow.refresh(name);
    assert.deepEqual(await f.query(SESSIONS, ["silver.visits"], "committed"), wanted);
    assert.deepEqual(await f.query(PLACED, ["silver.placed"]), [
      ["ann", "GB"],
      ["ann", null],
      ["bob", null],
      ["cyd", "GB"],
      ["cyd", null],
      ["dan", "IE"],
    ]);
    await f.close();
  }
  const [first, second] = hashes;
  assert.deepEqual(
    first?.map((hash, i) => hash === second?.[i]),
    [false, true, true],
    "only what reads addresses is another table",
  );
});

test("without a file the project does not load, and every table that needs one is named", async () => {
  await using dir = await temporaryFolder();
  await assert.rejects(openFlow(dir.path, { project: "located" }), (error: { code?: string; details?: unknown }) => {
    assert.equal(error.code, "PROJECT_INVALID");
    assert.deepEqual((error.details as { code: string; name: string }[]).map(({ code, name }) => [code, name]).sort(), [
      ["GEO_DATABASE_NOT_SET", "silver.placed"],
      ["GEO_DATABASE_NOT_SET", "silver.visits"],
    ]);
    return true;
  });
});
