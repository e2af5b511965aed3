import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { loadProject } from "../../src/define/load-project.ts";
import type { ProjectProblem } from "../../src/define/problem.ts";
import type { SqlInspector } from "../../src/define/sql-inspector.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { MillraceError } from "../../src/errors.ts";

let root: string;
let inspector: SqlInspector;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "millrace-define-"));
  inspector = await openDuckdbInspector();
});
after(async () => {
  inspector.close();
  await rm(root, { recursive: true, force: true });
});

const CONFIG = 'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "shop" });\n';
const STREAM = `import { stream, z } from "millrace";
export const orders = stream("orders", { schema: z.object({ id: z.string() }) });
`;

async function folder(name: string, files: Record<string, string>): Promise<string> {
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name, file)), { recursive: true });
    await writeFile(join(root, name, file), text);
  }
  return join(root, name);
}

async function refused(dir: string): Promise<{ message: string; problems: ProjectProblem[] }> {
  try {
    await loadProject(dir, inspector);
  } catch (error) {
    assert.ok(error instanceof MillraceError, String(error));
    assert.equal(error.code, "PROJECT_INVALID");
    return { message: error.message, problems: error.details as ProjectProblem[] };
  }
  return assert.fail("the project loads");
}

test("a project far from any installation imports this running package, without a warning", async () => {
  const warnings: Error[] = [];
  const listen = (warning: Error) => warnings.push(warning);
  process.on("warning", listen);
  const dir = await folder("outside", { "millrace.config.ts": CONFIG, "streams.ts": STREAM });
  const project = await loadProject(dir, inspector);
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", listen);
  assert.deepEqual([...project.streams.keys()], ["orders"]);
  assert.deepEqual([...project.tables.keys()], ["silver.orders"]);
  assert.deepEqual(warnings, []);
});

test("a project with a copy of the package of its own still gets this running one", async () => {
  const dir = await folder("own-copy", {
    "millrace.config.ts": CONFIG,
    "streams.ts": STREAM,
    "node_modules/millrace/package.json": '{ "name": "millrace", "type": "module", "exports": "./index.js" }',
    "node_modules/millrace/index.js": 'throw new Error("the other copy")',
  });
  assert.deepEqual([...(await loadProject(dir, inspector)).streams.keys()], ["orders"]);
});

test("a project reached by a symbolic link has its places in its own folder", async () => {
  const dir = await folder("real", {
    "millrace.config.ts": CONFIG,
    "streams.ts": `${STREAM}export const bad = stream("Bad", { schema: z.object({ id: z.string() }) });\n`,
  });
  await symlink(dir, join(root, "link"));
  const { problems } = await refused(join(root, "link"));
  assert.deepEqual(
    problems.map((p) => [p.code, p.file, p.line]),
    [["NAME_INVALID", "streams.ts", 3]],
  );
});

test("modules that do not parse are reported with file and place, beside the mistakes of those that do", async () => {
  const dir = await folder("broken", {
    "millrace.config.ts": CONFIG,
    "streams.ts": STREAM,
    "a-syntax.ts": "export const a = 1;\nexport const b = = 2;\n",
    "b-enum.ts": "export enum Kind { A }\n",
    "c-import.ts": 'import { tabel } from "millrace";\nexport const t = tabel;\n',
    "d-throws.ts":
      'export const a = 1;\nfunction fail(): never {\n  throw new TypeError("no such thing");\n}\nfail();\n',
    "e-imports-d.ts": 'export * from "./d-throws.ts";\n',
    "f-later.ts": 'export const late = await Promise.reject(new Error("came to nothing"));\n',
    "tables.ts":
      'import { table } from "millrace";\nexport const t = table("silver.t", { sql: "select idd from orders" });\n',
  });
  const { message, problems } = await refused(dir);
  assert.deepEqual(
    problems.map((p) => [p.code, p.file, p.line]),
    [
      ["MODULE_FAILED", "a-syntax.ts", 2],
      ["MODULE_FAILED", "b-enum.ts", 1],
      ["MODULE_FAILED", "c-import.ts", 1],
      ["MODULE_FAILED", "d-throws.ts", 3],
      ["MODULE_FAILED", "f-later.ts", 1],
      ["SQL_BIND", "tables.ts", 2],
    ],
  );
  assert.match(message, /does not load \(6 problems\)/);
  assert.match(
    message,
    /d-throws\.ts:3: the module does not load: no such thing \(line 3, column 9\) \[MODULE_FAILED\]/,
  );
  assert.match(message, /tables\.ts:2: .*"idd" not found.*\[SQL_BIND\]\n {4}\S/);
});

test("a configuration that does not parse is one problem among the others", async () => {
  const dir = await folder("broken-config", {
    "millrace.config.ts": "export default {{\n",
    "bad.ts": 'throw new Error("x");\n',
  });
  const { problems } = await refused(dir);
  assert.deepEqual(
    problems.map((p) => [p.code, p.file]),
    [
      ["MODULE_FAILED", "bad.ts"],
      ["MODULE_FAILED", "millrace.config.ts"],
    ],
  );
});

test("a folder that is missing or holds no configuration is no project", async () => {
  await assert.rejects(loadProject(join(root, "nowhere"), inspector), { code: "PROJECT_NOT_FOUND" });
  const dir = await folder("no-config", { "streams.ts": STREAM });
  await assert.rejects(loadProject(dir, inspector), { code: "PROJECT_NOT_FOUND", message: /millrace\.config\.ts/ });
});

test("a loaded project is frozen", async () => {
  const dir = await folder("frozen", { "millrace.config.ts": CONFIG, "streams.ts": STREAM });
  const project = await loadProject(dir, inspector);
  const stream = project.streams.get("orders")!;
  for (const part of [project, stream, stream.columns, stream.jsonSchema, project.tables.get("silver.orders")]) {
    assert.ok(Object.isFrozen(part));
  }
});

test("a definition that two modules export is one definition, known by the module that made it", async () => {
  const dir = await folder("re-exported", {
    "millrace.config.ts": CONFIG,
    "a-index.ts": 'export * from "./streams.ts";\n',
    "streams.ts": STREAM,
  });
  const project = await loadProject(dir, inspector);
  assert.equal(project.streams.get("orders")!.file, "streams.ts");
});
