/** Alerts in a platform as a user runs it: raised by events and by tables, told, acknowledged, silenced, and counted after kills. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { RunningPlatform } from "../platform/running-platform.ts";

const PROJECT = "test/react/projects/alerting";

interface Alert {
  readonly id: string;
  readonly name: string;
  readonly key: string;
  readonly state: string;
  readonly summary: string;
  readonly acknowledgedBy: string | null;
  readonly resolvedBy: string | null;
  readonly note: string | null;
  readonly silencedUntil: string | null;
}

describe("alerts of a running platform", () => {
  let dir: string;
  let hook: Server;
  let platform: RunningPlatform;
  /** `name/key state`, as the webhook was told. */
  const told: string[] = [];
  let events = 0;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "millrace-alerts-"));
    hook = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { data } = JSON.parse(Buffer.concat(chunks).toString("utf8"));
      told.push(`${data.name}/${data.key} ${data.state}`);
      response.end();
    });
    hook.listen(0, "127.0.0.1");
    await once(hook, "listening");
    await start();
  });

  after(async () => {
    await platform?.stop();
    hook?.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function start() {
    const { port } = hook.address() as AddressInfo;
    platform = await RunningPlatform.start(PROJECT, dir, [], { ALERTS_URL: `http://127.0.0.1:${port}/` });
  }

  const telemetry = (vehicle: string, temp: number) => ({
    id: `e${events++}`,
    vehicle,
    temp,
    at: new Date().toISOString(),
  });

  async function list(query: string): Promise<Alert[]> {
    const { status, body } = await platform.get<{ alerts: Alert[] }>(`/v1/alerts?${query}`);
    assert.equal(status, 200);
    return body.alerts;
  }

  async function send<Body>(method: string, path: string, body?: unknown): Promise<{ status: number; body: Body }> {
    const response = await fetch(`${platform.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${platform.key}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Body };
  }

  const idPath = (id: string) => `/v1/alerts/${encodeURIComponent(id)}`;

  it("are raised by events as they come, and are in system.alerts", async () => {
    await platform.post("telemetry", [
      telemetry("17", 100),
      telemetry("17", 131),
      telemetry("17", 160),
      telemetry("18", 155),
    ]);
    const alerts = await until(
      () => list("name=overheat"),
      (found) => found.length === 2,
    );
    assert.deepEqual(
      alerts.map(({ id, state, summary }) => [id, state, summary]),
      [
        ["alert/overheat/18/0-3", "firing", "18 is at 155 °C"],
        ["alert/overheat/17/0-1", "firing", "17 is at 160 °C"],
      ],
    );
    await platform.post("telemetry", [telemetry("17", 115), telemetry("17", 109)]);
    await until(
      () => list("name=overheat&key=17"),
      ([one]) => one?.state === "resolved",
    );
    const rows = await platform.sql(
      `select key, severity, state, details ->> '$.row.temp' from system.alerts where name = 'overheat' order by key`,
    );
    assert.deepEqual(rows, [
      ["17", "critical", "resolved", "160"],
      ["18", "critical", "firing", "155"],
    ]);
    await until(
      async () => told,
      (all) => all.includes("overheat/17 resolved") && all.includes("overheat/18 firing"),
    );
  });

  it("are raised by the final results of windows", async () => {
    const tick = (seconds: number) => ({ at: new Date(Date.UTC(2026, 0, 5, 12, 0, seconds)).toISOString() });
    await platform.post("ticks", [tick(1), tick(2), tick(3), tick(130)]);
    const [alert] = await until(
      () => list("name=busy"),
      ({ length }) => length === 1,
    );
    assert.deepEqual([alert?.state, alert?.key, alert?.summary], ["firing", "", "3 ticks in a minute"]);
    await platform.post("ticks", [tick(250)]);
    await until(
      () => list("name=busy"),
      ([one]) => one?.state === "resolved",
    );
  });

  it("are raised by tables after their commits, and are alerts themselves while their SQL fails", async () => {
    await platform.post("notes", [{ vehicle: "17", number: "4", open: true }]);
    const [first] = await until(
      () => list("name=open_note"),
      ({ length }) => length === 1,
    );
    assert.deepEqual([first?.id, first?.summary], ["alert/open_note/17/0", "note 4 is open"]);
    await platform.post("notes", [{ vehicle: "19", number: "none", open: true }]);
    const [failed] = await until(
      () => list("name=alert_failed&state=open"),
      ({ length }) => length === 1,
    );
    assert.match(failed?.summary ?? "", /^The alert "open_note" cannot be asked for: /);
    assert.equal((await list("name=open_note&state=open")).length, 1);
    await platform.post("notes", [
      { vehicle: "19", number: "5", open: true },
      { vehicle: "17", number: "4", open: false },
    ]);
    await until(
      () => list("name=alert_failed&state=open"),
      ({ length }) => length === 0,
    );
    await until(
      () => list("name=open_note&state=open"),
      (open) => open.length === 1 && open[0]?.key === "19",
    );
  });

  it("are acknowledged and resolved over HTTP and by the command", async () => {
    const [alert] = await list("name=overheat&key=18");
    const acked = await send<{ alert: Alert }>("POST", `${idPath(alert!.id)}/ack`, { note: "on it" });
    assert.deepEqual(
      [acked.status, acked.body.alert.state, acked.body.alert.acknowledgedBy, acked.body.alert.note],
      [200, "acknowledged", "admin", "on it"],
    );
    // Again: what was said first stays.
    assert.equal(
      (await send<{ alert: Alert }>("POST", `${idPath(alert!.id)}/ack`, { note: "me too" })).body.alert.note,
      "on it",
    );
    const listed = await platform.command("alerts", "list", "--name", "overheat");
    assert.match(listed.stdout, /alert\/overheat\/18\/0-3 .* acknowledged by admin .* 18 is at 155/);
    const resolved = await platform.command("alerts", "resolve", alert!.id, "--note", "towed", "--json");
    assert.deepEqual(
      [resolved.code, JSON.parse(resolved.stdout).alert.state, JSON.parse(resolved.stdout).alert.resolvedBy],
      [0, "resolved", "admin"],
    );
    assert.equal((await send("POST", `${idPath(alert!.id)}/ack`, {})).status, 409);
    assert.equal((await send("POST", `${idPath("alert/none/1/0")}/ack`, {})).status, 404);
    assert.equal((await send("POST", `${idPath(alert!.id)}/ack`, { nope: 1 })).status, 400);
    // Its cause goes on: no new one, until it was gone.
    await platform.post("telemetry", [telemetry("18", 156), telemetry("18", 100), telemetry("18", 157)]);
    const [again] = await until(
      () => list("name=overheat&key=18&state=open"),
      ({ length }) => length === 1,
    );
    assert.notEqual(again?.id, alert?.id);
    assert.equal((await list("name=overheat&key=18")).length, 2);
    await until(
      async () => told,
      (all) => all.includes("overheat/18 acknowledged"),
    );
  });

  it("that tables raise come again after they were resolved by hand when their cause was gone", async () => {
    const [alert] = await list("name=open_note&key=19");
    await send("POST", `${idPath(alert!.id)}/resolve`);
    await platform.post("notes", [{ vehicle: "20", number: "6", open: true }]);
    await until(
      () => list("name=open_note&key=20"),
      ({ length }) => length === 1,
    );
    assert.equal((await list("name=open_note&key=19")).length, 1);
    await platform.post("notes", [
      { vehicle: "19", number: "5", open: false },
      { vehicle: "20", number: "6", open: false },
    ]);
    await until(
      () => list("name=open_note&key=20&state=open"),
      ({ length }) => length === 0,
    );
    await platform.post("notes", [{ vehicle: "19", number: "7", open: true }]);
    await until(
      () => list("name=open_note&key=19&state=open"),
      ({ length }) => length === 1,
    );
    assert.equal((await list("name=open_note&key=19")).length, 2);
  });

  it("that are silenced are raised and told to nobody, until the silence ends while they fire", async () => {
    const silenced = await platform.command(
      "alerts",
      "silence",
      "--name",
      "over*",
      "--about",
      "2*",
      "--for",
      "1h",
      "--reason",
      "workshop",
      "--json",
    );
    assert.equal(silenced.code, 0, silenced.stderr);
    const { silence } = JSON.parse(silenced.stdout);
    assert.equal(silence.state, "active");
    await platform.post("telemetry", [
      telemetry("21", 130),
      telemetry("22", 130),
      telemetry("22", 100),
      telemetry("31", 130),
    ]);
    await until(
      () => list("name=overheat&key=22"),
      ([one]) => one?.state === "resolved",
    );
    await until(
      async () => told,
      (all) => all.includes("overheat/31 firing"),
    );
    const [one] = await list("name=overheat&key=21");
    assert.ok(one?.silencedUntil);
    const deliveries = `/v1/deliveries?status=silenced`;
    await until(
      async () => (await platform.get<{ deliveries: { alertId: string }[] }>(deliveries)).body.deliveries,
      (found) => found.filter(({ alertId }) => /overheat\/2[12]\//.test(alertId)).length === 3,
    );
    assert.deepEqual(
      told.filter((text) => /overheat\/2[12]/.test(text)),
      [],
    );
    assert.match(
      (await platform.command("alerts", "silences", "--state", "active")).stdout,
      /name over\*, key 2\*.*workshop/,
    );
    assert.deepEqual(await platform.sql(`select "key", reason, ended_by from system.silences`), [
      ["2*", "workshop", null],
    ]);

    const ended = await platform.command("alerts", "unsilence", silence.id);
    assert.match(ended.stdout, /is over$/m);
    await until(
      async () => told,
      (all) => all.includes("overheat/21 firing"),
    );
    assert.deepEqual(
      told.filter((text) => /overheat\/2[12]/.test(text)),
      ["overheat/21 firing"],
    );
    assert.equal((await list("name=overheat&key=21")).length, 1);
    assert.equal((await send("DELETE", "/v1/silences/none")).status, 404);
    for (const body of [
      { match: {}, reason: "x", for: "1h" },
      { match: { name: "*" }, for: "1h" },
      { match: { name: "*" }, reason: "x" },
      { match: { name: "*" }, reason: "x", for: "1h", to: "2030-01-01T00:00:00Z" },
      { match: { name: "*" }, reason: "x", to: "2020-01-01T00:00:00Z" },
      { match: { name: "*" }, reason: "x", repeat: { cron: "nonsense", for: "1h" } },
    ])
      assert.equal((await send("POST", "/v1/silences", body)).status, 400, JSON.stringify(body));
  });

  it("are neither lost nor doubled when the platform is killed again and again", { timeout: 180_000 }, async () => {
    const expected = new Map<string, number>();
    let sent = 0;
    for (let life = 0; life < 3; life++) {
      for (let batch = 0; batch < 10; batch++) {
        const batchEvents = [];
        for (let i = 0; i < 25; i++) {
          const vehicle = `k${sent % 7}`;
          // Each vehicle goes hot and cool in turn, so each hot event of it is one alert.
          const hot = Math.floor(sent / 7) % 2 === 0;
          if (hot) expected.set(vehicle, (expected.get(vehicle) ?? 0) + 1);
          batchEvents.push(telemetry(vehicle, hot ? 130 : 100));
          sent++;
        }
        assert.equal((await platform.post("telemetry", batchEvents)).status, 202);
      }
      await platform.stop("SIGKILL");
      await start();
    }
    const count = `select key, count(*), count(*) filter (state = 'firing') from system.alert_events
      where name = 'overheat' and key like 'k%' and not regexp_matches(event_id, 'firing/') group by key order by key`;
    const raised = [...expected].sort();
    await until(
      () => platform.sql(`${count}`),
      (rows) => rows.reduce((sum, row) => sum + Number(row[2]), 0) === raised.reduce((sum, [, n]) => sum + n, 0),
    );
    const rows = await platform.sql(count);
    assert.deepEqual(
      rows.map(([key, , firing]) => [key, Number(firing)]),
      raised,
    );
    // In the log itself each stands once as well, not only in the table behind it.
    await platform.stop();
    const folder = join(dir, "log", "_alerts", "0");
    const segments = (await readdir(folder)).filter(
      (name) => name.endsWith(".ndjson") && !name.endsWith(".index.ndjson"),
    );
    const texts = await Promise.all(segments.map((name) => readFile(join(folder, name), "utf8")));
    const ids = texts.flatMap((text) =>
      text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line).event_id as string),
    );
    const ofKilled = ids.filter((id) => id.startsWith("alert/overheat/k"));
    assert.ok(ofKilled.length > 300);
    assert.equal(new Set(ofKilled).size, ofKilled.length);
  });
});

/** Asks again until the answer is as wanted; the test's own limit ends it otherwise. */
async function until<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const answer = await ask();
    if (wanted(answer)) return answer;
    if (tries > 600) assert.fail(`it stays ${JSON.stringify(answer).slice(0, 2000)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
