import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";

test("the features that docs/reactions.md defines load", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "features-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const page = await readFile(new URL("../../docs/reactions.md", import.meta.url), "utf8");
  const [, block] = /^```ts features\n(.*?)^```$/ms.exec(page) ?? [];
  await writeFile(join(dir, "features.ts"), block ?? "");
  const config = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "page" });\n';
  await writeFile(join(dir, "millrace.config.ts"), config);
  const inspector = await openDuckdbInspector();
  t.after(() => inspector.close());
  const { features } = await loadProject(dir, inspector);
  assert.deepEqual([...features.keys()], ["card_spend_10m", "card_merchants_1h"]);
});
