import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { ERRORS } from "../../src/errors.ts";

const PAGE = join(import.meta.dirname, "../../docs/reactions.md");

test("the functions of docs/reactions.md load, and its codes are in the registry", async (t) => {
  const page = await readFile(PAGE, "utf8");
  const section = page.slice(page.indexOf("\n## Functions"), page.indexOf("\n## Windows"));
  const blocks = [...section.matchAll(/```ts functions\n([\s\S]*?)```/g)].map((block) => block[1]);
  assert.equal(blocks.length, 3);
  for (const [code] of section.matchAll(/\b(?:FUNCTION|REACT)_[A-Z_]+\b/g)) assert.ok(code in ERRORS, code);
  const dir = await mkdtemp(join(tmpdir(), "millrace-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const config = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "page" });\n';
  await writeFile(join(dir, "millrace.config.ts"), config);
  await writeFile(join(dir, "fleet.ts"), blocks.join("\n"));
  const inspector = await openDuckdbInspector();
  try {
    const { functions } = await loadProject(dir, inspector);
    assert.deepEqual([...functions.keys()], ["hardBraking", "scoring", "serviced"]);
    assert.deepEqual(functions.get("hardBraking")?.emits, ["driver_alerts"]);
  } finally {
    await inspector.close();
  }
});
