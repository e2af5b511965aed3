import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { browserBundle } from "../../packages/tracker/build.ts";
import { LIBRARY } from "../../packages/tracker/src/version.ts";

const ROOT = join(import.meta.dirname, "../..");
const PACKAGE = join(ROOT, "packages/tracker");

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: object;
  readonly peerDependencies?: object;
  readonly exports: object;
}

const manifest = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as Manifest;

describe("the package of the tracker", () => {
  it("has under 5 KB gzip for a browser, and no import of anything", async () => {
    const bundle = await browserBundle();
    const bytes = gzipSync(bundle, { level: 9 }).length;
    assert.ok(bytes < 5_000, `${bytes} bytes`);
    assert.doesNotMatch(bundle, /\bimport\s*[("'{*]/);
    assert.match(bundle, /export\s*\{/);
  });

  it("depends on nothing, and says its own name and version", () => {
    assert.deepEqual([manifest.dependencies, manifest.peerDependencies], [undefined, undefined]);
    assert.equal(LIBRARY, `${manifest.name}/${manifest.version}`);
  });

  it("packed and installed has what its exports name, runs on Node, and types a project that uses it", async () => {
    const dir = mkdtempSync(join(tmpdir(), "tracker-package-"));
    try {
      execFileSync("npm", ["pack", "--silent", "--pack-destination", dir], { cwd: PACKAGE });
      const installed = join(dir, "node_modules/@millrace/tracker");
      await mkdir(installed, { recursive: true });
      const tarball = join(dir, `millrace-tracker-${manifest.version}.tgz`);
      execFileSync("tar", ["-xzf", tarball, "--strip-components=1", "-C", installed]);
      const files = [...JSON.stringify(manifest.exports).matchAll(/"(\.\/dist\/[^"]+)"/g)].map(([, file]) => file);
      assert.ok(files.length > 5);
      for (const file of files) assert.ok(existsSync(join(installed, file as string)), file);

      writeFileSync(join(dir, "package.json"), '{"type": "module"}');
      writeFileSync(
        join(dir, "main.ts"),
        `import { createTracker } from "@millrace/tracker";
const tracker = createTracker<{ clicks: { n: number } }>()({ dir: ${JSON.stringify(join(dir, "queue"))}, endpoints: "http://127.0.0.1:9", key: "k", onError() {} });
console.log(await tracker.track("clicks", { n: 1 }));
// @ts-expect-error
if (false) void tracker.track("clicks", { n: "1" });
await tracker.close(10);
`,
      );
      assert.equal(execFileSync(process.execPath, ["main.ts"], { cwd: dir, encoding: "utf8" }), "true\n");
      symlinkSync(join(ROOT, "node_modules/@types"), join(dir, "node_modules/@types"));
      const flags = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"];
      execFileSync(join(ROOT, "node_modules/.bin/tsc"), [...flags, "main.ts"], { cwd: dir, stdio: "inherit" });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
