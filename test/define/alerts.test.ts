import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import type { Project } from "../../src/define/project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { MillraceError } from "../../src/errors.ts";

const AROUND = `
  const telemetry = stream("telemetry", {
    schema: z.object({ id: z.string(), vehicle: z.string(), temp: z.number(), at: z.iso.datetime(), engine: z.object({ rpm: z.int() }), extra: z.json() }),
    id: ["id"], key: "vehicle", time: "at",
  });
  const many = stream("many", { schema: z.object({ a: z.string(), b: z.string() }), key: "a", partitions: 4 });
  const hourly = window("hourly", { on: telemetry, key: "vehicle", size: tumbling("1h"), aggregate: { n: count() } });
  const team = slack("team", { url: "https://hooks.example.com/x" });
  export const around = [telemetry, many, hourly, team];`;

/** Loads a project of these definitions, or what is wrong with it as `code: message`. */
async function load(code: string): Promise<Project | string[]> {
  const dir = mkdtempSync(join(tmpdir(), "millrace-alerts-"));
  const config = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "p" });';
  writeFileSync(join(dir, "millrace.config.ts"), config);
  const names =
    "alert, commit, count, cron, rateOfChange, seasonal, slack, stream, threshold, tumbling, window, z, zscore";
  writeFileSync(join(dir, "alerts.ts"), `import { ${names} } from "millrace";\n${AROUND}\n${code}`);
  const inspector = await openDuckdbInspector();
  try {
    return await loadProject(dir, inspector);
  } catch (error) {
    if (!(error instanceof MillraceError && error.code === "PROJECT_INVALID")) throw error;
    return (error.details as { code: string; message: string }[]).map((found) => `${found.code}: ${found.message}`);
  } finally {
    await inspector.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

test("alerts over streams, windows, tables and the platform's own tables load with everything said", async () => {
  const project = await load(`
    export const a = alert("overheat", {
      on: telemetry, when: (event) => event.temp > 120, until: threshold("temp", { below: 110 }), for: "30s", coolDown: "10m", resolveAfter: "1h",
      severity: "critical", summary: "{vehicle} {engine.rpm} {extra.anything} {key} {reason} {value} {expected}", to: [team],
    });
    export const b = alert("odd", { on: "telemetry", key: ["vehicle", "id"], when: zscore("engine.rpm"), to: ["team"] });
    export const c = alert("few", { on: hourly, when: seasonal("n", { period: "7d", slot: "1h", below: -3 }) });
    export const d = alert("hot", { sql: "select vehicle as key, max(temp) as t from silver.telemetry group by all", when: rateOfChange("t", { per: "1m", above: 3 }) });
    export const e = alert("unbalanced", { sql: "select * from system.ledger where not balanced", key: "hop", every: cron("@hourly"), timeout: "5s" });
    export const f = alert("telemetry", { on: many, key: ["a", "b"], when: () => true });`);
  assert.ok("alerts" in project, JSON.stringify(project));
  const { overheat, odd, few, hot, unbalanced } = Object.fromEntries(project.alerts);
  assert.ok(overheat?.over === "stream" && odd?.over === "stream" && few?.over === "stream");
  assert.deepEqual(
    [overheat.stream, overheat.key, overheat.time, overheat.forMs, overheat.to],
    ["telemetry", ["vehicle"], "at", 30_000, ["team"]],
  );
  assert.deepEqual(overheat.until, { kind: "threshold", field: "temp", above: Number.POSITIVE_INFINITY, below: 110 });
  assert.deepEqual(odd.when, {
    kind: "zscore",
    field: "engine.rpm",
    above: 3.5,
    below: -3.5,
    history: 100,
    atLeast: 20,
  });
  assert.deepEqual([few.stream, few.finalsOnly, odd.finalsOnly], ["hourly", true, false]);
  assert.ok(hot?.over === "table" && unbalanced?.over === "table");
  assert.deepEqual(
    [hot.inputs, hot.key, hot.every, hot.timeoutMs],
    [["silver.telemetry"], undefined, undefined, 30_000],
  );
  assert.deepEqual([unbalanced.inputs, unbalanced.key], [["system.ledger"], ["hop"]]);
});

test("what an alert gets wrong is refused when the project loads, with the nearest right name", async () => {
  const cases: [string, RegExp][] = [
    [`"X", { on: telemetry, when: () => true }`, /^NAME_INVALID: an alert cannot have the name "X"/],
    [`"alert_failed", { on: telemetry, when: () => true }`, /^NAME_INVALID/],
    [`"x", { when: () => true }`, /^OPTION_MISSING: alert "x" needs on or sql/],
    [`"x", { on: telemetry }`, /^OPTION_MISSING: alert "x" needs when/],
    [`"x", { on: "telemetri", when: () => true }`, /^INPUT_UNKNOWN: .*did you mean "telemetry"/],
    [`"x", { on: telemetry, when: () => true, every: "1m" }`, /^OPTION_UNKNOWN: .*"every"/],
    [
      `"x", { on: telemetry, key: "vehicel", when: () => true }`,
      /^FIELD_UNKNOWN: key of alert "x" names "vehicel".*did you mean "vehicle"/,
    ],
    [`"x", { on: telemetry, key: "engine", when: () => true }`, /^FIELD_UNFIT: key/],
    [`"x", { on: telemetry, key: [], when: () => true }`, /^OPTION_INVALID: key/],
    [`"x", { on: many, key: "b", when: () => true }`, /^REACT_KEY: alert "x"/],
    [`"x", { on: telemetry, when: threshold("tmp", { above: 1 }) }`, /^FIELD_UNKNOWN: when .*did you mean "temp"/],
    [`"x", { on: telemetry, when: threshold("vehicle", { above: 1 }) }`, /^FIELD_UNFIT: when .*must be a number/],
    [
      `"x", { on: telemetry, when: threshold("temp", {}) }`,
      /^OPTION_MISSING: threshold of alert "x" needs above or below/,
    ],
    [`"x", { on: telemetry, when: threshold("temp", { above: "1" }) }`, /^OPTION_INVALID: above/],
    [`"x", { on: telemetry, when: threshold("temp", { over: 1, above: 1 }) }`, /^OPTION_UNKNOWN: .*"over"/],
    [`"x", { on: telemetry, when: zscore("temp", { history: 5000 }) }`, /^OPTION_INVALID: history/],
    [`"x", { on: telemetry, when: zscore("temp", { history: 10, atLeast: 11 }) }`, /^OPTION_INVALID: atLeast/],
    [`"x", { on: telemetry, when: seasonal("temp", { period: "1 day" }) }`, /^OPTION_INVALID: period/],
    [`"x", { on: telemetry, when: seasonal("temp", { period: "7d", slot: "1s" }) }`, /^OPTION_INVALID: slot/],
    [
      `"x", { on: telemetry, when: seasonal("temp", { period: "1h", slot: "1s", history: 60 }) }`,
      /^OPTION_INVALID: history/,
    ],
    [`"x", { on: telemetry, when: rateOfChange("temp", { per: "0s", above: 1 }) }`, /^OPTION_INVALID: per/],
    [`"x", { on: telemetry, when: "temp > 3" }`, /^OPTION_INVALID: when .*must be a function, or one of threshold/],
    [`"x", { on: telemetry, when: () => true, until: zscore("temp") }`, /^OPTION_INVALID: until/],
    [`"x", { on: telemetry, when: () => true, for: "soon" }`, /^OPTION_INVALID: for/],
    [
      `"x", { on: telemetry, when: () => true, severity: "fatal" }`,
      /^OPTION_INVALID: severity .*info, warning, critical/,
    ],
    [
      `"x", { on: telemetry, when: () => true, summary: "{vehicel} is hot" }`,
      /^FIELD_UNKNOWN: summary .*did you mean "vehicle"/,
    ],
    [`"x", { on: telemetry, when: () => true, to: ["taem"] }`, /^DESTINATION_UNKNOWN: .*did you mean "team"/],
    [`"x", { sql: "select * from silver.telemetri" }`, /^INPUT_UNKNOWN: .*did you mean "silver.telemetry"/],
    [`"x", { sql: "selec 1" }`, /^SQL_SYNTAX/],
    [`"x", { sql: "delete from silver.telemetry" }`, /^SQL_NOT_A_QUERY/],
    [`"x", { sql: "select tmp from silver.telemetry" }`, /^SQL_BIND/],
    [`"x", { sql: "select ?" }`, /^INPUT_REFUSED: .*a parameter/],
    [`"x", { sql: "select temp from silver.telemetry", key: "vehicle" }`, /^COLUMN_UNKNOWN: key/],
    [`"x", { sql: "select temp from silver.telemetry", time: "vehicle" }`, /^COLUMN_UNKNOWN: time/],
    [`"x", { sql: "select 1 as n", every: "10ms" }`, /^OPTION_INVALID: every/],
    [`"x", { sql: "select 1 as n", every: commit("silver.telemetry") }`, /^OPTION_INVALID: every/],
    [`"x", { sql: "select 1 as n", every: cron("61 * * * *") }`, /^CRON_INVALID/],
    [`"x", { sql: "select 1 as n", timeout: "2h" }`, /^OPTION_INVALID: timeout/],
    [`"hourly", { on: telemetry, when: () => true }`, /^NAME_TAKEN: alert "hourly"/],
  ];
  const code = cases.map(([given], i) => `export const a${i} = alert(${given.replace(/^"x"/, `"x${i}"`)} as never);`);
  const found = await load(code.join("\n"));
  assert.ok(Array.isArray(found));
  for (const [i, [given, wanted]] of cases.entries()) {
    const told = found.map((one) => one.replaceAll(`"x${i}"`, '"x"'));
    assert.ok(
      told.some((one) => wanted.test(one)),
      `${given}: ${wanted} is not among\n${found.join("\n")}`,
    );
  }
  const twice = await load(`export const a = [1, 2].map(() => alert("x", { sql: "select 1 as n" }));`);
  assert.match(String(twice), /^NAME_TAKEN: alert "x" is defined twice/);
});
