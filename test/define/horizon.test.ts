import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { resolveSettings } from "../../src/config/settings.ts";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";

test("a horizon given as a flag, in the environment or as text is that of every stream without its own", async () => {
  // Within the tests, so that "millrace" resolves.
  const dir = await mkdtemp(join(import.meta.dirname, "projects-horizon-"));
  const inspector = await openDuckdbInspector();
  try {
    await writeFile(
      join(dir, "millrace.config.ts"),
      'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "p", horizonMs: "3h" });\n',
    );
    const schema = "schema: z.object({ a: z.string() })";
    await writeFile(
      join(dir, "streams.ts"),
      `import { stream, z } from "millrace";
       export const own = stream("own", { ${schema}, horizon: "2d" });
       export const other = stream("other", { ${schema} });\n`,
    );
    for (const [given, expected] of [
      [{}, 3 * 3_600_000],
      [{ env: { MILLRACE_HORIZON_MS: "5m" } }, 300_000],
      [{ env: { MILLRACE_HORIZON_MS: "5m" }, flags: { horizonMs: "1s" } }, 1_000],
    ] as const) {
      const { streams } = await loadProject(dir, inspector, {
        horizonMs: (project) => resolveSettings({ ...given, project }).settings.horizonMs,
      });
      assert.deepEqual([streams.get("own")?.horizonMs, streams.get("other")?.horizonMs], [2 * 86_400_000, expected]);
    }
  } finally {
    inspector.close();
    await rm(dir, { recursive: true, force: true });
  }
});
