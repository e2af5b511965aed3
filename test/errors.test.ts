import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { DOCS } from "../bin/write-docs.ts";
import { ERRORS, type ErrorCode, MillraceError } from "../src/errors.ts";

const root = new URL("..", import.meta.url);
const sources = globSync("src/**/*.ts", { cwd: root }).map((file) => readFileSync(new URL(file, root), "utf8"));

test("docs/errors.md is the registry as it stands (npm run docs:errors)", () => {
  assert.equal(readFileSync(new URL(DOCS.errors!.file, root), "utf8"), DOCS.errors!.write());
});

test("every code is in capitals, has a status that fits its nature, and says what to do next", () => {
  for (const [code, spec] of Object.entries(ERRORS)) {
    assert.match(code, /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/);
    assert.ok(spec.status >= 400 && spec.status <= 599, code);
    assert.ok(spec.message.length > 0 && spec.hint.length > 0, code);
    assert.doesNotMatch(spec.message, /\.$/, `${code}: the message is no whole paragraph`);
  }
});

test("every code of the registry is used somewhere", () => {
  const text = sources.join("\n");
  const unused = Object.keys(ERRORS).filter((code) => !text.includes(`"${code}"`));
  assert.deepEqual(unused, []);
});

test("every place that throws a code gives the parameters its message and hint name", () => {
  const missing: string[] = [];
  for (const source of sources) {
    for (const [, code, params] of source.matchAll(/new MillraceError\(\s*"([A-Z_0-9]+)",\s*\{([^{}]*)\}/g)) {
      const spec = ERRORS[code as ErrorCode];
      const needed = [...`${spec.message} ${spec.hint}`.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
      if (params!.includes("...")) continue;
      for (const name of needed) if (!new RegExp(`\\b${name}\\b`).test(params!)) missing.push(`${code}: ${name}`);
    }
  }
  assert.deepEqual(missing, []);
});

test("an error fills its message and hint, and leaves what it was not given visible", () => {
  const error = new MillraceError("STATE_NEWER", { got: 3 });
  assert.match(error.message, /version 3; this release knows versions up to \{known\}/);
  assert.deepEqual(error.toJSON(), { code: "STATE_NEWER", message: error.message, hint: error.hint });
});
