import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { RunningPlatform } from "../platform/running-platform.ts";

/*
 * The `ts` example of docs/kinesis.md is a project, its command makes the key, and the snippet for Node puts and reads with them. The one for
 * Python is lines of the program that `npm run test:sdks` runs.
 */
const ROOT = resolve(import.meta.dirname, "../..");
const page = await readFile(join(ROOT, "docs/kinesis.md"), "utf8");

function example(kind: string): string {
  const found = new RegExp(`^\`\`\`${kind}\\n(.*?)^\`\`\`$`, "ms").exec(page)?.[1];
  assert.ok(found, kind);
  return found;
}

test("the page's stream takes what its snippet puts with the key that its command makes", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "kinesis-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const project = join(dir, "project");
  await mkdir(project);
  const config = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "fleet" });\n';
  await writeFile(join(project, "millrace.config.ts"), config);
  await writeFile(join(project, "streams.ts"), example("ts streams\\.ts"));
  await using platform = await RunningPlatform.start(relative(ROOT, project), join(dir, "data"));

  const command = /^ {4}millrace (keys create .*)$/m.exec(page)?.[1]?.split(" ") ?? [];
  const { stdout: variables, code, stderr } = await platform.command(...command);
  assert.equal(code, 0, stderr);
  const names = variables
    .trim()
    .split("\n")
    .map((line) => line.split("=", 1)[0]);
  assert.deepEqual(names, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
  for (const name of names) assert.ok(page.includes(`    ${name}=`));
  const env = Object.fromEntries(
    variables
      .trim()
      .split("\n")
      .map((line) => /^(\w+)=(.*)$/.exec(line)?.slice(1) ?? []),
  );

  const file = join(ROOT, "node_modules/.kinesis-page-example.mjs");
  await writeFile(file, example("js node").replaceAll("http://localhost:8080", platform.url));
  t.after(() => rm(file));
  const { stdout } = await promisify(execFile)(process.execPath, [file], { env: { ...process.env, ...env } });
  const expected = [...example("js node").matchAll(/console\.log\(.*\); \/\/ (.*)/g)].map(([, said]) => said);
  assert.deepEqual(stdout.trim().split("\n"), expected);
  assert.deepEqual(await platform.sql("select id, vehicle, speed from readings"), [["r-1", "v-7", 52.5]]);
});

test("the snippet for Python is of the program that runs", async () => {
  const program = await readFile(join(ROOT, "test/sdks/kinesis-python/round_trip.py"), "utf8");
  assert.ok(program.includes(example("python").trimEnd()));
});
