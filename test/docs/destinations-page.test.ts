import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { ERRORS } from "../../src/errors.ts";
import { sign } from "../../src/react/deliver/webhook-sender.ts";

const PAGE = join(import.meta.dirname, "../../docs/reactions.md");

test("the destinations of docs/reactions.md load, its way to verify a webhook takes ours and no other, and its codes are in the registry", async (t) => {
  const page = await readFile(PAGE, "utf8");
  const section = page.slice(page.indexOf("\n## Destinations"));
  const block = (name: string) =>
    new RegExp(`\`\`\`ts ${name}\n([\\s\\S]*?)\`\`\``).exec(section)?.[1] ?? assert.fail(name);
  for (const [code] of section.matchAll(/\b(?:DELIVERY|DESTINATION)_[A-Z_]+\b/g)) assert.ok(code in ERRORS, code);
  const dir = await mkdtemp(join(tmpdir(), "millrace-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, "millrace.config.ts"), block("config"));
  await writeFile(join(dir, "ops.ts"), block("destinations"));
  const inspector = await openDuckdbInspector();
  try {
    const { destinations, alertRoutes } = await loadProject(dir, inspector);
    assert.deepEqual([...destinations.keys()], ["ops", "team", "on-call", "duty", "mail", "drivers"]);
    assert.deepEqual(
      alertRoutes.map(({ to }) => to),
      [["on-call", "team"], ["ops"], ["team"]],
    );
  } finally {
    inspector.close();
  }
  await writeFile(join(dir, "verify.mts"), block("verify"));
  const { isFromMillrace } = (await import(pathToFileURL(join(dir, "verify.mts")).href)) as {
    isFromMillrace: (secret: string, headers: Record<string, string>, body: string) => boolean;
  };
  const key = Buffer.from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64");
  const headers = (seconds: number) => {
    const timestamp = String(Math.floor(Date.now() / 1000) + seconds);
    return {
      "webhook-id": "msg_1",
      "webhook-timestamp": timestamp,
      "webhook-signature": `v1,AAAA ${sign(key, "msg_1", timestamp, "{}")}`,
    };
  };
  const secret = `whsec_${key.toString("base64")}`;
  assert.equal(isFromMillrace(secret, headers(0), "{}"), true);
  assert.equal(isFromMillrace(secret, headers(0), "{ }"), false);
  assert.equal(isFromMillrace(secret, headers(-3600), "{}"), false);
  assert.equal(isFromMillrace("another secret, not ours", headers(0), "{}"), false);
});
