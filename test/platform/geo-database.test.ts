import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { test } from "node:test";
import { smallMmdb } from "../engine/small-mmdb.ts";
import { RunningPlatform } from "./running-platform.ts";

test("a platform reads the file its project names at the start, and does not start with a broken one", async () => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-geo-platform-"));
  try {
    const project = join(dir, "project");
    const path = relative(resolve(import.meta.dirname, "../.."), project);
    await mkdir(project);
    await writeFile(
      join(project, "millrace.config.ts"),
      'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "geo", geoDatabase: "places.mmdb" });\n',
    );
    await writeFile(
      join(project, "logins.ts"),
      `import { stream, table, z } from "millrace";
export const logins = stream("logins", { schema: z.object({ ip: z.string() }) });
export const placed = table("silver.placed", { sql: "select locate_ip(ip).country_code as country from logins" });
`,
    );
    const networks = { "1.0.0.0/8": { country: { iso_code: "GB" } } };
    await writeFile(join(project, "places.mmdb"), smallMmdb({ networks }));
    const platform = await RunningPlatform.start(path, join(dir, "data"));
    try {
      const post = async (route: string, body: unknown) => {
        const headers = { authorization: `Bearer ${platform.key}`, "content-type": "application/json" };
        return (await fetch(platform.url + route, { method: "POST", headers, body: JSON.stringify(body) })).json();
      };
      await post("/v1/streams/logins/events", [{ ip: "1.2.3.4" }, { ip: "10.0.0.1" }]);
      const sql = "select country, locate_ip('1.1.1.1').country_code as here from silver.placed order by 1";
      const { rows } = (await post("/v1/sql", { sql })) as { rows: unknown };
      assert.deepEqual(rows, [
        ["GB", "GB"],
        [null, "GB"],
      ]);
    } finally {
      platform.process.kill("SIGTERM");
      await once(platform.process, "exit");
    }
    await writeFile(join(project, "places.mmdb"), "cut");
    await assert.rejects(
      RunningPlatform.start(path, join(dir, "data")),
      /GEO_DATABASE_UNUSABLE: the geo database .*places\.mmdb cannot be used: it is no whole database/,
    );
  } finally {
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  }
});
