import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
let dir: string;

/** One file per broken rule, and what it breaks. Files of the same layout without a mistake stand among them. */
const FILES: Record<string, { text: string; breaks?: string }> = {
  "src/cli/main.ts": { text: 'import { platform } from "../platform.ts";\nexport const main = platform;\n' },
  "src/platform.ts": { text: 'import { log } from "./log/log.ts";\nexport const platform = log;\n' },
  "src/log/log.ts": { text: "export const log = 1;\nexport interface Log {}\n" },
  "src/flow/flow.ts": { text: 'import { log } from "../log/log.ts";\nexport const flow = log;\n' },
  "src/lake/types-may-cross.ts": { text: 'import type { Log } from "../log/log.ts";\nexport type Lake = Log;\n' },
  "src/lake/sibling.ts": {
    text: 'import { log } from "../log/log.ts";\nexport const lake = log;\n',
    breaks: "means-meet-in-platform",
  },
  "src/serve/sibling.ts": {
    text: 'import { flow } from "../flow/flow.ts";\nexport const serve = flow;\n',
    breaks: "features-meet-in-platform",
  },
  "src/gateway/reaches-down.ts": {
    text: 'import { log } from "../log/log.ts";\nexport const gateway = log;\n',
    breaks: "doors-get-what-they-need-passed-in",
  },
  "src/state/upward.ts": {
    text: 'import { flow } from "../flow/flow.ts";\nexport const state = flow;\n',
    breaks: "means-know-no-features",
  },
  "src/define/upward.ts": {
    text: 'import type { Log } from "../log/log.ts";\nexport type Define = Log;\n',
    breaks: "ground-knows-nobody",
  },
  "src/react/upward.ts": {
    text: 'import type { platform } from "../platform.ts";\nexport type React = typeof platform;\n',
    breaks: "features-know-no-shell",
  },
  "src/engine/a.ts": { text: 'import { b } from "./b.ts";\nexport const a = b;\n', breaks: "no-cycles" },
  "src/engine/b.ts": { text: 'import { a } from "./a.ts";\nexport const b: unknown = a;\n' },
  "src/engine/nowhere.ts": { text: 'import { x } from "./gone.ts";\nexport const y = x;\n', breaks: "no-unresolved" },
  "src/engine/dev.ts": {
    text: 'import check from "fast-check";\nexport const dev = check;\n',
    breaks: "declared-packages-only",
  },
  "src/engine/tests.ts": {
    text: 'import { fixture } from "../../test/fixture.ts";\nexport const t = fixture;\n',
    breaks: "src-knows-no-tests",
  },
  "packages/tracker/src/node.ts": { text: 'import { open } from "node:fs";\nexport const node = open;\n' },
  "packages/tracker/src/page.ts": {
    text: 'import { open } from "node:fs";\nexport const page = open;\n',
    breaks: "pages-know-no-node",
  },
  "packages/tracker/src/reaches-out.ts": {
    text: 'import { log } from "../../../src/log/log.ts";\nexport const tracker = log;\n',
    breaks: "the-tracker-stands-alone",
  },
  "test/fixture.ts": { text: "export const fixture = 1;\n" },
};

before(() => {
  dir = mkdtempSync(join(tmpdir(), "millrace-imports-"));
  for (const [file, { text }] of Object.entries(FILES)) {
    mkdirSync(dirname(join(dir, file)), { recursive: true });
    writeFileSync(join(dir, file), text);
  }
  writeFileSync(join(dir, "package.json"), JSON.stringify({ type: "module", devDependencies: { "fast-check": "*" } }));
  symlinkSync(join(root, "node_modules"), join(dir, "node_modules"));
});
after(() => rmSync(dir, { recursive: true, force: true }));

test("every import rule finds its violation in TypeScript sources, and nothing else", async () => {
  const tool = join(root, "node_modules/dependency-cruiser/bin/dependency-cruiser.mjs");
  const args = [tool, "--config", join(root, ".dependency-cruiser.cjs"), "--output-type", "json", "src", "packages"];
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { cwd: dir, maxBuffer: 2 ** 26 }, (_error, stdout) => resolve(stdout));
  });
  const { summary } = JSON.parse(output) as { summary: { violations: { rule: { name: string }; from: string }[] } };
  const found = new Set(summary.violations.map(({ rule, from }) => `${from}: ${rule.name}`));
  const expected = Object.entries(FILES).flatMap(([file, { breaks }]) =>
    breaks === undefined ? [] : [`${file}: ${breaks}`],
  );
  // A cycle is told from either of its ends.
  found.delete("src/engine/b.ts: no-cycles");
  assert.deepEqual([...found].sort(), expected.sort());
});
