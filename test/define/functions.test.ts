import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import type { Project } from "../../src/define/project.ts";
import { functionCircles } from "../../src/define/read-function.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { MillraceError } from "../../src/errors.ts";

const STREAMS = `import { on, stream, z } from "millrace";
export const telemetry = stream("telemetry", {
  schema: z.object({ vehicle_id: z.string(), g: z.number(), place: z.object({ lat: z.number() }) }), key: "vehicle_id" });
export const alerts = stream("alerts", { schema: z.object({ alert_id: z.string() }), id: ["alert_id"] });
export const plain = stream("plain", { schema: z.object({ a: z.string() }) });
`;

interface Told {
  readonly code: string;
  readonly message: string;
  readonly file: string;
  readonly line: number;
}

async function load(files: Record<string, string>): Promise<Project | Told[]> {
  const dir = mkdtempSync(join(tmpdir(), "millrace-functions-"));
  const config = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "p" });';
  for (const [name, text] of Object.entries({ "millrace.config.ts": config, "streams.ts": STREAMS, ...files }))
    writeFileSync(join(dir, name), text);
  const inspector = await openDuckdbInspector();
  try {
    return await loadProject(dir, inspector);
  } catch (error) {
    if (!(error instanceof MillraceError && error.code === "PROJECT_INVALID")) throw error;
    return error.details as Told[];
  } finally {
    await inspector.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function problemsOf(code: string): Promise<string[]> {
  const text = `import { on, stream, z } from "millrace";\nimport { alerts, plain, telemetry } from "./streams.ts";\n${code}`;
  const loaded = await load({ "reactions.ts": text });
  return Array.isArray(loaded) ? loaded.map(({ code: name, message }) => `${name}: ${message}`) : [];
}

async function projectOf(code: string): Promise<Project> {
  const text = `import { on, stream, z } from "millrace";\nimport { alerts, plain, telemetry } from "./streams.ts";\n${code}`;
  const loaded = await load({ "reactions.ts": text });
  assert.ok(!Array.isArray(loaded), JSON.stringify(loaded));
  return loaded;
}

test("a function has the name of its export or the one it is given, and says everything with its defaults", async () => {
  const { functions, modules } = await projectOf(`
    export const hardBraking = on(telemetry, () => undefined);
    export const other = on(telemetry, { name: "renamed" }, () => undefined);
    export const many = [on(plain, { name: "listed" }, () => undefined)];
    export const all = on(telemetry, { key: "vehicle_id", state: z.object({ n: z.int() }), ttl: "30d", version: 3, from: "beginning",
      concurrency: 8, timeout: "2s", retry: [{ on: "EAGAIN", attempts: 9 }, { attempts: 1 }], emits: [alerts], batch: { size: 100 } },
      () => undefined);`);
  assert.deepEqual([...functions.keys()], ["hardBraking", "renamed", "listed", "all"]);
  assert.deepEqual(modules, ["reactions.ts", "streams.ts"]);
  assert.deepEqual(functions.get("hardBraking"), {
    name: "hardBraking",
    stream: "telemetry",
    key: "vehicle_id",
    state: undefined,
    version: 1,
    from: "now",
    concurrency: 64,
    timeoutMs: 10_000,
    batch: undefined,
    emits: undefined,
    features: [],
    lookups: {},
    file: "reactions.ts",
  });
  assert.equal(functions.get("listed")?.key, undefined);
  const all = functions.get("all");
  assert.equal(all?.state?.ttlMs, 30 * 86_400_000);
  assert.deepEqual(all?.batch, { size: 100, waitMs: 5 });
  assert.equal(all?.concurrency, 100);
  assert.deepEqual(all?.emits, ["alerts"]);
});

test("one function that two modules export is one, under the name of the first", async () => {
  const loaded = await load({
    "a.ts": `import { on } from "millrace";\nimport { plain } from "./streams.ts";\nexport const first = on(plain, () => undefined);`,
    "b.ts": `export { first, first as second } from "./a.ts";`,
  });
  assert.ok(!Array.isArray(loaded), JSON.stringify(loaded));
  assert.deepEqual([...loaded.functions.keys()], ["first"]);
});

test("what a function gets wrong is refused when the project loads, with the nearest right name", async () => {
  const cases: [string, RegExp][] = [
    [
      `on("telemetri", () => {})`,
      /^FUNCTION_STREAM_UNKNOWN: function "f" is on the stream "telemetri".*did you mean "telemetry"/,
    ],
    [`on(5 as never, () => {})`, /^OPTION_INVALID: .*first argument.*5/],
    [`on(telemetry, "no" as never)`, /^OPTION_INVALID: .*second argument.*"no"/],
    [`on(telemetry, {} as never, undefined as never)`, /^OPTION_INVALID: .*last argument/],
    [
      `on(telemetry, { key: "vehicel_id" as never }, () => {})`,
      /^FIELD_UNKNOWN: .*"vehicel_id".*did you mean "vehicle_id"/,
    ],
    [`on(telemetry, { key: "place" }, () => {})`, /^FIELD_UNFIT: /],
    [`on(plain, { state: z.number() }, () => {})`, /^OPTION_INVALID: state of function "f".*key: "…"/],
    [
      `on(telemetry, { state: z.date() }, () => {})`,
      /^FUNCTION_STATE_UNFIT: the state of function "f" cannot be kept as JSON/,
    ],
    [`on(telemetry, { state: z.map(z.string(), z.number()) }, () => {})`, /^FUNCTION_STATE_UNFIT/],
    [`on(telemetry, { state: z.string().transform(Number) }, () => {})`, /^FUNCTION_STATE_UNFIT/],
    [`on(telemetry, { state: { n: 1 } as never }, () => {})`, /^OPTION_INVALID: state/],
    [`on(telemetry, { ttl: "1d" }, () => {})`, /^OPTION_INVALID: ttl.*only together with state/],
    [`on(telemetry, { state: z.number(), ttl: "soon" }, () => {})`, /^OPTION_INVALID: ttl/],
    [`on(telemetry, { from: "then" as never }, () => {})`, /^OPTION_INVALID: from/],
    [`on(telemetry, { version: 0 }, () => {})`, /^OPTION_INVALID: version/],
    [`on(telemetry, { concurrency: 0 }, () => {})`, /^OPTION_INVALID: concurrency/],
    [`on(telemetry, { timeout: "2h" }, () => {})`, /^OPTION_INVALID: timeout/],
    [`on(telemetry, { retry: { attempts: 0 } }, () => {})`, /^OPTION_INVALID: attempts of retry of function "f"/],
    [`on(telemetry, { batch: { size: 0 } }, () => {})`, /^OPTION_INVALID: batch/],
    [`on(telemetry, { batch: { size: 1, every: "1s" } as never }, () => {})`, /^OPTION_INVALID: batch/],
    [
      `on(telemetry, { emits: ["alert"] as never }, () => {})`,
      /^FUNCTION_STREAM_UNKNOWN: .*emits to the stream "alert".*did you mean "alerts"/,
    ],
    [`on(telemetry, { emits: alerts as never }, () => {})`, /^OPTION_INVALID: emits/],
    [`on(telemetry, { emit: [alerts] } as never, () => {})`, /^OPTION_UNKNOWN: .*did you mean "emits"/],
    [`on(telemetry, { name: "a b" }, () => {})`, /^NAME_INVALID: .*"a b"/],
  ];
  for (const [code, wanted] of cases) {
    const problems = await problemsOf(`export const f = ${code};`);
    assert.equal(problems.length, 1, `${code}: ${problems.join("\n")}`);
    assert.match(problems[0] as string, wanted);
  }
});

test("a default export has no name of its own, and two functions of one name are refused by file and line", async () => {
  const [problem] = await problemsOf("export default on(telemetry, () => undefined);");
  assert.match(problem as string, /^NAME_INVALID: .*name it is exported under, or `name`/);
  const loaded = await load({
    "a.ts": `import { on } from "millrace";\nexport const f = on("plain", () => undefined);`,
    "b.ts": `import { on } from "millrace";\n\nexport const f = on("plain", () => undefined);`,
  });
  assert.ok(Array.isArray(loaded));
  assert.deepEqual(
    loaded.map(({ code, file, line }) => ({ code, file, line })),
    [{ code: "NAME_TAKEN", file: "b.ts", line: 3 }],
  );
});

test("a function on a stream that does not read is no further mistake", async () => {
  const problems = await problemsOf(`
    export const bad = stream("bad", { schema: z.object({ at: z.date() }) });
    export const f = on(bad as never, { emits: [bad] as never }, () => undefined);`);
  assert.equal(problems.length, 1, problems.join("\n"));
  assert.match(problems[0] as string, /^SCHEMA_UNSUPPORTED/);
});

test("circles of functions that feed each other are named", () => {
  const functions = [
    { name: "a", stream: "x", emits: ["y", "z"] },
    { name: "b", stream: "y", emits: ["x"] },
    { name: "self", stream: "z", emits: ["z"] },
    { name: "unknown", stream: "x", emits: undefined },
  ];
  assert.deepEqual(functionCircles(new Map(functions.map((one) => [one.name, one]))), [
    "x -> a -> y -> b -> x",
    "z -> self -> z",
  ]);
});
