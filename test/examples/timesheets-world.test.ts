import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { AppMessage, BackendRecord, Happening } from "../../examples/timesheets/simulator/happening.ts";
import { World, type WorldOptions } from "../../examples/timesheets/simulator/world.ts";

const NOW_MS = Date.UTC(2026, 0, 15, 14, 30);
const GAP_MS = 30 * 60_000;
const SIMULATOR = resolve(import.meta.dirname, "../../examples/timesheets/simulator.ts");

function world(options: Partial<WorldOptions> = {}): { history: Happening[]; live: Happening[] } {
  const made = new World({ seed: 1, nowMs: NOW_MS, historyDays: 28, people: 1_000, ...options });
  const history = made.history();
  return { history, live: [...made.live(10).take(600)].flatMap(({ happenings }) => happenings) };
}

const { history, live } = world();
const all = [...history, ...live];
const messages = all.filter((happening): happening is AppMessage => happening.sender === "app");
const records = all.filter((happening): happening is BackendRecord => happening.sender === "backend");

test("the same seed and moment give the same people doing the same, another seed gives others", () => {
  assert.deepEqual(world({ people: 200, seed: 7 }), world({ people: 200, seed: 7 }));
  const ids = new Set(messages.map(({ messageId }) => messageId));
  const others = world({ people: 200, seed: 8 }).history.filter((h) => h.sender === "app" && h.person >= 0);
  assert.ok(others.length > 0 && others.every((h) => h.sender === "app" && !ids.has(h.messageId)));
});

test("every message has an id of its own, and so does every change of an entry or a project", () => {
  assert.equal(new Set(messages.map(({ messageId }) => messageId)).size, messages.length);
  const keys = records.map(({ fields }) => `${fields.entry_id ?? fields.project_id} ${fields.updated_at}`);
  assert.equal(new Set(keys).size, keys.length);
});

test("what one person does in a visit is closer than the gap of a session, and visits are further apart", () => {
  for (const [person, said] of Map.groupBy(messages, ({ person }) => person)) {
    const byTime = said.toSorted((a, b) => a.atMs - b.atMs);
    for (const [i, message] of byTime.entries()) {
      const before = byTime[i - 1];
      if (before === undefined) continue;
      const apartMs = message.atMs - before.atMs;
      assert.equal(apartMs > GAP_MS, message.visit !== before.visit, `person ${person}: ${apartMs} ms apart`);
    }
  }
});

test("nothing of the history is in the future, and nothing happens within a minute of midnight", () => {
  assert.ok(history.every(({ arrivesMs }) => arrivesMs <= NOW_MS));
  assert.ok(messages.every(({ atMs }) => Math.abs(((atMs + 43_200_000) % 86_400_000) - 43_200_000) >= 60_000));
});

test("people work by day, on weekdays, where they live", () => {
  const said = history.filter((happening): happening is AppMessage => happening.sender === "app");
  const worked = said.filter(({ name }) => name === "Timer Started");
  const weekend = worked.filter(({ atMs }) => [0, 6].includes(new Date(atMs).getUTCDay())).length;
  assert.ok(weekend > 0 && weekend / worked.length < 0.1, `${weekend} of ${worked.length} on weekends`);
  const zones = new Map(
    said
      .filter(({ type }) => type === "identify")
      .map(({ person, properties }) => [person, String(properties.time_zone)]),
  );
  const clocks = new Map(
    [...new Set(zones.values())].map((timeZone) => [
      timeZone,
      new Intl.DateTimeFormat("en-GB", { timeZone, hour: "2-digit" }),
    ]),
  );
  assert.ok(clocks.size >= 6);
  const atNight = worked.filter(({ person, atMs }) => {
    const hour = Number(clocks.get(zones.get(person) as string)?.format(atMs));
    assert.ok(hour >= 0);
    return hour < 6 || hour >= 21;
  });
  assert.ok(atNight.length / worked.length < 0.02, `${atNight.length} of ${worked.length} at night`);
});

test("what real clients do is there: late phones, wrong clocks, several devices, new logins, crawlers, broken records", () => {
  const late = history.filter(({ atMs, arrivesMs }) => arrivesMs > atMs);
  assert.ok(late.length / history.length > 0.005 && late.length / history.length < 0.05, `${late.length} late`);
  assert.ok(
    live.some(({ atMs }) => atMs < NOW_MS - 3_600_000),
    "no phone comes back with what it did before",
  );
  assert.ok(messages.some(({ device }) => device.clockOffsetMs > 365 * 86_400_000));
  assert.ok(messages.some(({ device }) => device.clockOffsetMs < -365 * 86_400_000));
  assert.ok(messages.some(({ type }) => type === "alias"));
  assert.ok(messages.some(({ person }) => person < 0));
  assert.ok(records.some(({ isBroken }) => isBroken) && records.some(({ fields }) => fields.deleted === true));
  const devices = Map.groupBy(
    messages.filter(({ person }) => person >= 0),
    ({ person }) => person,
  );
  const several = [...devices.values()].filter((said) => new Set(said.map(({ device }) => device)).size > 1).length;
  assert.ok(several / devices.size > 0.05, `${several} of ${devices.size} with several devices`);
  for (const platform of ["web", "ios", "android", "desktop", "chat"])
    assert.ok(
      messages.some(({ device }) => device.platform === platform),
      platform,
    );
});

test("the funnel narrows step by step, and everybody has signed in before a device knows who they are", () => {
  const reached = (name: string) => new Set(messages.filter((m) => m.name === name).map(({ person }) => person)).size;
  const steps = ["Welcome", "Signed Up", "Project Created", "Timer Started", "Report Viewed"].map(reached);
  assert.deepEqual(
    steps,
    steps.toSorted((a, b) => b - a),
  );
  assert.ok((steps[4] as number) > 0 && new Set(steps).size === steps.length, steps.join());
  const known = new Set<string>();
  for (const { type, device, userId } of messages.toSorted((a, b) => a.atMs - b.atMs)) {
    if (device.anonymousId === undefined || userId === undefined || type === "alias") continue;
    if (type === "identify") known.add(device.anonymousId);
    assert.ok(known.has(device.anonymousId), `${device.anonymousId} said ${userId} without a sign-in`);
  }
});

test("SIGTERM ends a run that waits for a busy platform, with a summary and without its keys", async (t) => {
  const revoked: string[] = [];
  let made = 0;
  const refused = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    request.resume();
    if (request.method === "DELETE") revoked.push(request.url as string);
    if (request.url === "/v1/keys") {
      made++;
      response.writeHead(201).end(JSON.stringify({ key: { id: `k${made}` }, token: `mk_${made}` }));
    } else if (request.method === "DELETE") response.writeHead(200).end("{}");
    else {
      refused.resolve();
      response.writeHead(429, { "retry-after": "1" }).end("{}");
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const child = spawn(process.execPath, [SIMULATOR, "--people", "300", "--json"], {
    env: { ...process.env, MILLRACE_URL: url, MILLRACE_KEY: "admin" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  await refused.promise;
  child.kill("SIGTERM");
  const [stdout, stderr, [code]] = await ended;
  assert.equal(code, 0, stderr);
  const { messages: sent, records: told } = JSON.parse(stdout) as Record<string, { acknowledged: number }>;
  assert.deepEqual([sent?.acknowledged, told?.acknowledged], [0, 0]);
  assert.deepEqual(revoked, ["/v1/keys/k1", "/v1/keys/k2"]);
});

test("wrong options and a missing key are usage errors that name what is wrong", async () => {
  const simulate = async (args: string[], key: string) => {
    const env = { ...process.env, MILLRACE_URL: "http://127.0.0.1:9", MILLRACE_KEY: key };
    const child = spawn(process.execPath, [SIMULATOR, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
    return { code: code as number | null, stderr };
  };
  const wrong = await simulate(["--people", "many", "--for", "soon"], "");
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--people takes a whole number, got "many"\n--for takes a time/);
  assert.match(wrong.stderr, /MILLRACE_KEY is not set/);
  const nobody = await simulate(["--for", "1s"], "some-key");
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /simulator: nobody answers at http:\/\/127\.0\.0\.1:9/);
});
