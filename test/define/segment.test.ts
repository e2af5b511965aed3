import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import type { Project } from "../../src/define/project.ts";
import { trackingPlan } from "../../src/define/tracking-plan.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { MillraceError } from "../../src/errors.ts";
import { judgeOf } from "../../src/gateway/segment/plan-judge.ts";
import { sharedData } from "../gateway/shared-data.ts";

/** The project whose one module is this, loaded. */
async function load(module: string): Promise<Project> {
  const dir = await mkdtemp(join(tmpdir(), "segment-define-"));
  const inspector = await openDuckdbInspector();
  try {
    await writeFile(
      join(dir, "millrace.config.ts"),
      'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "app" });\n',
    );
    await writeFile(join(dir, "app.ts"), `import { segment, trackingPlan } from "millrace";\n${module}`);
    return await loadProject(dir, inspector);
  } finally {
    inspector.close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function problemsOf(module: string): Promise<string[]> {
  const error: unknown = await load(module).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof MillraceError && error.code === "PROJECT_INVALID", String(error));
  return (error.details as { file: string; line: number; message: string }[]).map(
    ({ file, line, message }) => `${file}:${line}: ${message}`,
  );
}

describe("segment(name)", () => {
  it("is one stream, its typed table and one table per type of message, all of which follow event by event", async () => {
    const { streams, tables } = await load('export const app = segment("app", { horizon: "2d", partitions: 3 });');
    const stream = streams.get("app");
    assert.deepEqual([stream?.id, stream?.horizonMs, stream?.partitions], [["messageId"], 2 * 86_400_000, 3]);
    assert.deepEqual(
      [...tables.values()].map(({ name, mode }) => [name, mode]).sort(),
      ["aliases", "groups", "identifies", "pages", "screens", "tracks"]
        .map((table) => [`app.${table}`, "append"])
        .concat([["silver.app", "append"]]),
    );
  });

  it("reports what is wrong with its options where it is called", async () => {
    assert.deepEqual(await problemsOf('export const app = segment("app", { horizont: "2d" });'), [
      'app.ts:2: stream "app" has no option "horizont"; did you mean "horizon"?',
    ]);
    const [plain] = await problemsOf('export const app = segment("app", { plan: { rules: {} } });');
    assert.match(plain as string, /^app\.ts:2: .*is not what trackingPlan gives/);
    const [none] = await problemsOf('export const app = segment("app", { plan: trackingPlan({ rules: 1 }) });');
    assert.match(none as string, /^app\.ts:2: .*it has no list of events/);
  });
});

describe("trackingPlan(json)", () => {
  it("takes the rules of the Public API too, and of several versions of an event the newest", () => {
    const rule = (type: string, key: string, version: number) => ({
      type,
      key,
      version,
      jsonSchema: { title: version },
    });
    const { events } = trackingPlan({ rules: [rule("TRACK", "A", 2), rule("TRACK", "A", 1), rule("IDENTIFY", "", 1)] });
    assert.deepEqual(events, [{ name: "A", schema: { title: 2 } }]);
  });

  it("refuses what is no plan, and options that it does not have, by name", () => {
    const message = (run: () => unknown) => {
      try {
        run();
      } catch (error) {
        return (error as MillraceError).message;
      }
      return undefined;
    };
    assert.match(
      String(message(() => trackingPlan({ rules: { events: [{ rules: {} }] } }))),
      /its event 0 has no name/,
    );
    assert.match(String(message(() => trackingPlan({ rules: { events: [{ name: "A" }] } }))), /"A" has no JSON Schema/);
    assert.match(
      String(message(() => trackingPlan({ rules: [] }, { violations: "drop" as "flag" }))),
      /"reject" or "flag"/,
    );
    assert.match(
      String(message(() => trackingPlan({ rules: [] }, { violation: "flag" } as object))),
      /did you mean "violations"/,
    );
  });

  it("reads Typewriter's plan of difficult names: every event has a table, every property a column of its type", async (t) => {
    const folder = sharedData("segment-typewriter");
    if (folder === undefined) return t.skip("the plan is not here");
    const file = JSON.stringify(join(folder, "test/env/output/plan.json"));
    const { streams, tables } = await load(`import { readFileSync } from "node:fs";
export const app = segment("app", { plan: trackingPlan(JSON.parse(readFileSync(${file}, "utf8"))) });`);
    const own = (table: string) => {
      const columns = tables.get(`app.${table}`)?.columns.map(({ name, type }) => [name, type.kind] as const) ?? [];
      const from = columns.findIndex(([name]) => name === "event") + 1;
      return columns.slice(
        from,
        columns.findIndex(([name]) => name === "context_ip"),
      );
    };
    assert.equal([...tables.keys()].filter((name) => name.startsWith("app.")).length, 6 + 24);
    assert.deepEqual(own("n_42_terrible_event_name_3"), []);
    assert.ok(tables.has("app.event_collided") && tables.has("app.event_collided_2"));
    assert.deepEqual(own("properties_collided"), [
      ["property_collided", "string"],
      ["property_collided_2", "string"],
    ]);
    assert.deepEqual(
      own("every_required_type")
        .map(([name, kind]) => `${name} ${kind}`)
        .sort(),
      [
        "required_any json",
        "required_array json",
        "required_array_with_properties json",
        "required_boolean boolean",
        "required_int long",
        "required_number double",
        "required_object json",
        "required_object_with_properties json",
        "required_string string",
        "required_string_with_regex string",
      ],
    );
    const judge = judgeOf(streams.get("app")!, { maxEventBytes: 10_000, maxNesting: 64 });
    const verdict = (event: string, properties: object) => {
      const bytes = Buffer.from(JSON.stringify({ type: "track", messageId: "m", userId: "u", event, properties }));
      return judge.judge(bytes, 0, bytes.length)?.message;
    };
    assert.equal(verdict("Enum Types", { "string enum": "Evil Morty" }), undefined);
    assert.equal(
      verdict("Enum Types", { "string enum": "Rick" }),
      'against the tracking plan: "/properties/string enum" must be one of "Evil Morty", "Lawyer Morty", got "Rick"',
    );
    assert.match(String(verdict("Default Violation Handler", { "regex property": "Not a Morty" })), /must match/);
    assert.match(
      String(verdict("Nested Arrays", { universeCharacters: [[{}]] })),
      /universeCharacters\/0\/0\/name" must be there/,
    );
  });
});
