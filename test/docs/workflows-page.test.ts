import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../../src/errors.ts";
import { load } from "../examples/project-tables.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

/*
 * The `ts` examples of docs/workflows.md are one project, whose workflows are run here; one marked `ts refused CODE` keeps that project from
 * loading.
 */
const ROOT = resolve(import.meta.dirname, "../..");
const page = await readFile(join(ROOT, "docs/workflows.md"), "utf8");
const examples = [...page.matchAll(/^```(ts|sql) ?([^\n]*)\n(.*?)^```$/gms)].map(([, kind, mark, code]) => ({
  kind: kind as string,
  mark: mark as string,
  code: code as string,
}));
const good = examples.filter(({ kind, mark }) => kind === "ts" && mark === "").map(({ code }) => code);
/** Marked with their path: modules of the project that hold no definitions. */
const modules = examples.filter(({ mark }) => mark.endsWith(".ts"));
const refused = examples.filter(({ mark }) => mark.startsWith("refused "));

async function folder(t: TestContext, definitions: readonly string[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "workflows-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const project = join(dir, "project");
  mkdirSync(project);
  const config = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "work" });\n';
  writeFileSync(join(project, "millrace.config.ts"), config);
  for (const [i, code] of definitions.entries()) writeFileSync(join(project, `example-${i}.ts`), code);
  for (const { mark, code } of modules) {
    mkdirSync(dirname(join(project, mark)), { recursive: true });
    writeFileSync(join(project, mark), code);
  }
  return dir;
}

for (const { mark, code } of refused) {
  const wanted = mark.slice("refused ".length);
  test(`the page's example of what is refused fails with ${wanted}`, async (t) => {
    const dir = await folder(t, [...good, code]);
    await assert.rejects(load(join(dir, "project")), (error) => {
      assert.ok(error instanceof MillraceError && error.code === "PROJECT_INVALID", String(error));
      const problems = error.details as { code: string }[];
      assert.deepEqual([...new Set(problems.map((problem) => problem.code))], [wanted]);
      return true;
    });
  });
}

interface RunView {
  readonly id: string;
  readonly status: string;
  readonly output: unknown;
  readonly error: { readonly message: string } | null;
}

test("every workflow of the page runs and gives what the page says", async (t) => {
  const dir = await folder(t, good);
  const project = relative(ROOT, join(dir, "project"));
  await using platform = await RunningPlatform.start(project, join(dir, "data"), ["--flush-interval", "100ms"]);
  const headers = { authorization: `Bearer ${platform.key}`, "content-type": "application/json" };
  const send = async (path: string, body: unknown) => {
    const response = await fetch(platform.url + path, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = (await response.json()) as { run: RunView };
    assert.ok(response.ok, JSON.stringify(answer));
    return answer.run;
  };
  const ended = async ({ id }: RunView): Promise<RunView> => {
    for (let look = 0; look < 2_000; look++) {
      const { body } = await platform.get<{ run: RunView }>(`/v1/runs/${id}`);
      if (["succeeded", "failed", "cancelled"].includes(body.run.status)) return body.run;
      await sleep(20);
    }
    throw new Error(`run ${id} does not end`);
  };
  const run = async (name: string, input?: unknown) => ended(await send(`/v1/workflows/${name}/runs`, { input }));

  await platform.post("orders", [
    { order_id: "1", shop: "berlin", amount: 20 },
    { order_id: "2", shop: "paris", amount: 5 },
  ]);
  assert.deepEqual((await run("nightly")).output, ["berlin sold for 20"]);
  assert.deepEqual((await run("checkout", { order: "o1" })).output, { payment: "p-o1", key: true });
  const failed = await run("checkout", { order: "o2", fail: true });
  assert.deepEqual([failed.status, failed.error?.message], ["failed", "no truck"]);
  const { body } = await platform.get<{ logs: { message: string }[] }>(`/v1/runs/${failed.id}/logs`);
  assert.deepEqual(
    body.logs.map(({ message }) => message),
    ["charging", "refunded p-o2"],
  );
  assert.deepEqual((await run("fetch_all")).output, ["berlin 2", "paris 2"]);
  const waiting = await send("/v1/workflows/approval/runs", {});
  await send(`/v1/runs/${waiting.id}/signals/approved`, { data: { by: "ann" } });
  assert.equal((await ended(waiting)).output, "approved by ann");
  assert.equal((await run("quadruple", { n: 3 })).output, 12);
  assert.deepEqual((await run("crunching", { upTo: 100 })).output, { sum: 5050, never: "STEP_TIMEOUT" });

  const sql = examples.find(({ kind }) => kind === "sql")?.code ?? "";
  const rows = await platform.sql(sql);
  assert.deepEqual(
    rows.filter(([name]) => name === "checkout").map(([, status, runs]) => [status, runs]),
    [
      ["failed", 1],
      ["succeeded", 1],
    ],
  );
});
