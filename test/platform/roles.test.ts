import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ROLES, resolveSettings } from "../../src/config/settings.ts";
import { advertisedUrl, refuseLonely, workerIdOf } from "../../src/platform/cluster.ts";
import { elsewhere, roleOfRoute } from "../../src/platform/roles.ts";
import { startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";
import { millrace, RunningPlatform } from "./running-platform.ts";

const PROJECT = "test/platform/projects/scored";

test("every route but the probes' and the workers' belongs to a role", async () => {
  for (const path of [
    ...["/v1/streams/orders/events", "/v1/streams", "/v1/streams/orders/schema", "/v1/track", "/v1/batch", "/"],
    ...["/v1/projects/abc/settings", "/v1/import"],
  ])
    assert.equal(roleOfRoute(path), "gateway", path);
  for (const path of [
    "/v1/streams/orders/events/17",
    "/v1/sql",
    "/v1/tables/gold.sales",
    "/v1/runs/1/cancel",
    "/v1/keys",
  ])
    assert.equal(roleOfRoute(path), "serve", path);
  for (const path of ["/healthz", "/readyz", "/metrics", "/nonsense"]) assert.equal(roleOfRoute(path), undefined, path);
});

test("of routes that are not here a worker is named that runs, has the role and can be reached", () => {
  const worker = { id: "a", roles: ["serve"], url: "http://a", live: true };
  const say = (workers: (typeof worker)[]) => elsewhere(["gateway"], () => workers)("GET", "/v1/tables");
  const error = say([{ ...worker, id: "dead", live: false }, { ...worker, id: "new", url: "" }, worker]);
  assert.deepEqual(
    [error?.status, error?.code, error?.details],
    [421, "ROLE_ABSENT", { role: "serve", worker: "a", url: "http://a" }],
  );
  assert.match(say([{ ...worker, roles: ["flow"] }])?.message ?? "", /no worker that is running has it/);
  assert.equal(elsewhere(ROLES, () => [])("GET", "/v1/tables"), undefined);
  assert.equal(elsewhere(["gateway"], () => [])("GET", "/nonsense"), undefined);
});

describe("a process that works alone", { concurrency: false }, () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "millrace-roles-"));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  test("cannot leave work to others: what is missing for that is named", () => {
    const of = (flags: Record<string, unknown>) => () => refuseLonely(resolveSettings({ flags }));
    const shared = { kafkaBrokers: "a:9092", storeUrl: "s3://shop" };
    assert.throws(of({ role: "gateway" }), {
      code: "CLUSTER_INCOMPLETE",
      message:
        /this process leaves flow, react, orchestrate, serve to others.*not set: kafkaBrokers, storeUrl, postgresUrl$/,
    });
    assert.throws(of({ ...shared, role: "flow,serve" }), { message: /not set: postgresUrl$/ });
    assert.doesNotThrow(of({ ...shared, role: "flow", postgresUrl: "postgres://a/b" }));
    assert.doesNotThrow(of({ role: ROLES.join() }));
  });

  test("keeps its name through every start, unless it is given one", async () => {
    const settings = resolveSettings({}).settings;
    const name = await workerIdOf(settings, dir);
    assert.match(name, /-[0-9a-f]{6}$/);
    assert.equal(await workerIdOf(settings, dir), name);
    assert.equal(await workerIdOf({ ...settings, workerId: "till-4" }, dir), "till-4");
  });

  test("is reached where it says, or where it is bound, by name when that is everywhere", () => {
    const { settings } = resolveSettings({});
    assert.equal(advertisedUrl(settings, "http://127.0.0.1:8080"), "http://127.0.0.1:8080");
    assert.equal(advertisedUrl(settings, "http://0.0.0.0:8080"), `http://${hostname()}:8080`);
    assert.equal(
      advertisedUrl({ ...settings, advertiseUrl: "https://a.example" }, "http://0.0.0.0:1"),
      "https://a.example",
    );
  });

  test("is the only worker there is, with every role, and its registry says so by HTTP, SQL and command", async () => {
    await using platform = await RunningPlatform.start(PROJECT, join(dir, "alone"));
    const { status, body } = await platform.get<{ workers: Record<string, unknown>[] }>("/v1/workers");
    const { id, roles, url, live, self, owns } = body.workers[0]!;
    assert.deepEqual([status, body.workers.length], [200, 1]);
    assert.deepEqual([roles, url, live, self, owns], [[...ROLES], platform.url, true, true, {}]);
    assert.deepEqual(await platform.sql("select id, roles, live from system.workers"), [[id, ROLES.join(","), true]]);
    const listed = await platform.command("workers");
    assert.equal(listed.code, 0, listed.stderr);
    assert.ok(listed.stdout.includes(String(id)) && listed.stdout.includes("gateway, flow"), listed.stdout);
    const stranger = await fetch(`${platform.url}/v1/workers`);
    assert.equal(stranger.status, 401);
  });

  test("is refused beside another one with the same records, and one that takes its name ends it with the reason", async () => {
    const server = await startEmbeddedPostgres({ folder: join(dir, "postgres") });
    try {
      const { host, port, user, password } = server.connection;
      const url = `postgres://${user}:${password}@/postgres?host=${encodeURIComponent(host)}&port=${port}`;
      const records = ["--postgres-url", url, "--worker-id"];
      const first = await RunningPlatform.start(PROJECT, join(dir, "first"), [...records, "first"]);
      let errors = "";
      first.process.stderr!.on("data", (chunk) => {
        errors += chunk;
      });
      const start = ["start", PROJECT, "--port", "0", "--data"];
      const other = await millrace([...start, join(dir, "other"), ...records, "other"]);
      assert.equal(other.code, 1);
      assert.match(other.stderr, /worker first \(http:.*\) runs with the same records/);
      assert.match(other.stderr, /not set: kafkaBrokers, storeUrl/);
      await using second = await RunningPlatform.start(PROJECT, join(dir, "second"), [...records, "first"]);
      const [code] = first.process.exitCode === null ? await once(first.process, "exit") : [first.process.exitCode];
      assert.equal(code, 1);
      assert.match(errors, /another process runs as worker "first" and has taken over/);
      const { body } = await second.get<{ workers: { id: string; url: string }[] }>("/v1/workers");
      assert.deepEqual(
        body.workers.map(({ id, url }) => [id, url]),
        [["first", second.url]],
      );
    } finally {
      await server.stop();
    }
  });
});
