/**
 * The console's client against a running platform: every function of it is called, and what comes is held to what the client says comes. The compiler does that: the answers are written
 * down as literals of the client's types, where a field that is missing, new or of another type is an error.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { ApiError, api } from "../../packages/console/src/api.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const LONG = "select sum(i * j) from range(1000000) a(i), range(1000000) b(j)";
const ofTheSystem = globalThis.fetch;

let dir: Awaited<ReturnType<typeof temporaryFolder>>;
let platform: RunningPlatform;
before(async () => {
  dir = await temporaryFolder();
  platform = await RunningPlatform.start("test/console/project", join(dir.path, "data"), ["--flush-interval", "100ms"]);
  let cookie = "";
  // As a browser at the platform does: relative addresses, and the session's cookie.
  globalThis.fetch = async (path, init) => {
    const response = await ofTheSystem(`${platform.url}${String(path)}`, {
      ...init,
      headers: { ...(init?.headers as Record<string, string>), cookie },
    });
    const set = response.headers.get("set-cookie");
    if (set !== null) cookie = set.split(";", 1)[0] as string;
    return response;
  };
});
after(async () => {
  globalThis.fetch = ofTheSystem;
  await platform?.stop();
  await dir?.[Symbol.asyncDispose]();
});

type Api = typeof api;
/** Lists of what is not well. */
const WELL_EMPTY = new Set(["failed", "problems", "imbalances", "rejected"]);
/** What each function gave, every time it was called. */
const answers: [keyof Api, unknown][] = [];
const told = new Proxy(api, {
  get:
    (target, name: keyof Api) =>
    async (...given: never[]) => {
      const answer = await (target[name] as (...all: never[]) => Promise<unknown>)(...given);
      answers.push([name, answer]);
      return answer;
    },
}) as Api;

/** Asks again until there is what the platform does in its own time. */
async function until<T>(ask: () => Promise<T>, fine: (answer: T) => boolean): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (fine(answer) || Date.now() > deadline) return answer;
    await sleep(50);
  }
}

async function callEverything(): Promise<void> {
  assert.equal(await api.session(), null);
  await told.signIn(platform.key);
  await told.session();

  const order = { order_id: "o-1", customer_id: "c-1", country: "DE", amount: 950, placed_at: "2026-01-05T10:00:00Z" };
  await told.send("orders", order);
  await told.send("orders", { ...order, order_id: "o-2", amount: 20 });
  await told.send("orders", { ...order, order_id: "o-3", amount: 1e6 }); // fails a check
  const refused = await api.send("orders", { order_id: "" }).catch((error: unknown) => error);
  assert.ok(refused instanceof ApiError && refused.status >= 400, "an event that breaks the contract is refused");
  await until(
    () => api.ledger(),
    ({ hops }) => hops.every(({ pending }) => pending === 0),
  );
  await platform.command("refresh", "gold.sales_daily");
  await told.receipt("orders", "o-1");
  await told.streams();
  await told.schema("orders");
  await told.map();
  await told.lineage("gold.sales_daily", "revenue");
  await told.status();
  await told.ledger();
  await told.ledgerHistory(1);
  await told.settings();
  await told.system();
  await told.workers();
  const { key } = await told.createKey({ name: "of a test", scopes: ["query"] });
  await told.keys();
  await told.revokeKey(key.id);
  await told.tables();
  await told.table("silver.orders");
  await told.table("gold.sales_daily");

  await told.sql("select 1 as one, 'a' as a, null as n, [1, 2] as l");
  await told.sql("select * from range(3)", { maxRows: 1 });
  const csv = await told.sqlAs("select 1 as one", "text/csv");
  assert.equal(await csv.text(), "one\r\n1\r\n");
  const long = api.sql(LONG, { id: "long" }).catch((error: unknown) => error);
  await until(
    () => told.queries(),
    (queries) => queries.length > 0,
  );
  await told.cancelQuery("long");
  assert.equal(((await long) as ApiError).code, "QUERY_CANCELLED");

  const draft = { name: "Wall", cells: [{ id: "a", kind: "sql", sql: "select 1", view: "auto" }], refreshS: 60 };
  const { id, version } = await told.createNotebook(draft);
  await told.notebooks();
  await told.notebook(id);
  await told.replaceNotebook(id, version, { ...draft, refreshS: null });
  await told.removeNotebook(id);

  await told.workflows();
  const failing = await told.startRun("failing", { a: 1 });
  const nightly = await told.startRun("nightly", undefined);
  await until(
    () => api.runs(),
    ({ runs }) => runs.every(({ finishedAt }) => finishedAt !== null),
  );
  await told.runs({ limit: 1 });
  await told.run(failing.id);
  await told.run(nightly.id);
  await told.runLogs(nightly.id);
  await told.retryRun(failing.id);
  const backfill = await told.backfill("nightly", { partitions: ["a", "b"], concurrency: 1 });
  await told.showBackfill(backfill.id);
  await told.cancelBackfill(backfill.id);
  const another = await api.startRun("nightly", undefined);
  await told.cancelRun(another.id).catch((error: ApiError) => {
    // It may have been quicker.
    assert.equal(error.code, "RUN_OVER");
    answers.push(["cancelRun", undefined]);
  });

  const { deadLetters } = await told.deadLetters({ limit: 1 });
  await told.deadLetter(String(deadLetters[0]?.id));
  await told.retryLetters({ filter: { table: "silver.orders" } });
  await told.discardLetters({ filter: { stream: "orders" }, reason: "a test" });

  const { alerts } = await until(
    () => told.alerts(),
    ({ alerts: found }) => found.length > 0,
  );
  const alert = String(alerts[0]?.id);
  await told.alert(alert);
  await told.acknowledge(alert, "seen");
  await told.resolve(alert);
  const { silence } = await told.silence({ match: { name: "expensive_order" }, reason: "a test", for: "1h" });
  await told.silences();
  await told.endSilence(silence.id);
  await told.signOut();
  assert.equal(await api.session(), null);
}

/** The answers as literals of the types that the client gives them. */
function asLiterals(given: readonly (readonly [string, unknown])[]): string {
  const lines = given.map(
    ([name, answer], i) =>
      `export const answer${i}: Told<Awaited<ReturnType<typeof api.${name}>>> = ${JSON.stringify(answer)};`,
  );
  return `import type { api } from ${JSON.stringify(join(ROOT, "packages/console/src/api.ts"))};

/** What may be undefined is left out on its way. */
type Told<T> = unknown extends T ? T : T extends readonly (infer Item)[] ? readonly Told<Item>[] : T extends object
  ? { [Name in keyof T as undefined extends T[Name] ? never : Name]: Told<T[Name]> } &
    { [Name in keyof T as undefined extends T[Name] ? Name : never]?: Told<T[Name]> | undefined }
  : T;

${lines.join("\n")}
`;
}

/** A name in an answer is another one. */
function renamed(answer: unknown, from: string, to: string): unknown {
  return JSON.parse(JSON.stringify(answer).replaceAll(`"${from}":`, `"${to}":`));
}

test("every function of the client is answered with what its types say", async () => {
  await callEverything();
  assert.deepEqual(
    Object.keys(api).filter((name) => !answers.some(([called]) => called === name)),
    [],
    "not called",
  );
  const shaped = answers.filter(([, answer]) => answer !== undefined && !(answer instanceof Response));
  for (const [name, answer] of shaped) {
    const named: [string, unknown][] = Array.isArray(answer) ? [["", answer]] : Object.entries(answer as object);
    const lists = named.flatMap(([field, value]) => (Array.isArray(value) && !WELL_EMPTY.has(field) ? [value] : []));
    const full = lists.length === 0 || lists.some((list) => list.length > 0);
    assert.ok(full, `${name} gave nothing to look at: ${JSON.stringify(answer)}`);
  }
  await writeFile(join(dir.path, "answers.ts"), asLiterals(shaped));
  const tables = shaped.find(([name]) => name === "tables") as [string, unknown];
  const run = shaped.find(([name]) => name === "run") as [string, unknown];
  await writeFile(
    join(dir.path, "renamed.ts"),
    asLiterals([
      ["tables", renamed(tables[1], "sizeBytes", "bytes")],
      ["run", renamed(run[1], "attempts", "tries")],
    ]),
  );
  await writeFile(
    join(dir.path, "tsconfig.json"),
    JSON.stringify({
      extends: join(ROOT, "packages/console/tsconfig.json"),
      compilerOptions: { types: ["node"], typeRoots: [join(ROOT, "node_modules/@types")], noEmit: true },
      include: [],
      files: ["answers.ts", "renamed.ts"],
    }),
  );
  const compiler = promisify(execFile)(process.execPath, [
    join(ROOT, "node_modules/typescript/bin/tsc"),
    "-p",
    dir.path,
    "--pretty",
    "false",
  ]);
  const { stdout } = (await compiler.catch((error: unknown) => error)) as { stdout: string };
  const faults = stdout.split("\n").filter((line) => line.includes("error TS"));
  const inFile = (name: string) =>
    faults.filter((line) => line.includes(`${name}(`)).map((line) => line.slice(line.indexOf(name)));
  assert.deepEqual(inFile("answers.ts"), []);
  // That the check finds a field of another name is part of it.
  for (const name of ["bytes", "tries"])
    assert.ok(
      inFile("renamed.ts").some((line) => line.includes(`"${name}"`)),
      `the field that is called ${name} now was not found: ${stdout}`,
    );
});
