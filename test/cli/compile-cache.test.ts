import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../../bin/millrace.js", import.meta.url));
const version = (cache: string) =>
  execFileSync(process.execPath, [BIN, "--version"], {
    env: { ...process.env, XDG_CACHE_HOME: cache },
    encoding: "utf8",
  });

test("compiled modules are kept in the user's cache folder for the next start, and are missed by nobody where it cannot be written", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "millrace-cache-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const said = version(dir);
  const kept = readdirSync(join(dir, "millrace", "compiled"), { recursive: true });
  assert.ok(kept.length > 10, `${kept.length} files`);
  assert.equal(version(dir), said);
  writeFileSync(join(dir, "file"), "");
  assert.equal(version(join(dir, "file")), said);
});
