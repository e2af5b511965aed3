/** Which changes of a function its stored state survives. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Stream } from "../../src/define/project.ts";
import { readFunction, type StreamFunction } from "../../src/define/read-function.ts";
import { type FunctionOptions, on, z } from "../../src/index.ts";
import { nodeFileSystem } from "../../src/lake/file-system.ts";
import { checkFunctionVersions, functionsFile } from "../../src/platform/function-versions.ts";

const text = { kind: "string" } as const;
const base = { jsonSchema: {}, time: undefined, horizonMs: 1, file: "s.ts", id: [], key: "a" } as const;
const columns = ["a", "b"].map((name) => ({ name, type: text, nullable: false }));
const streams = new Map<string, Stream>(["one", "two"].map((name) => [name, { ...base, name, columns }]));

type Options = Omit<FunctionOptions, "state"> & { state?: z.ZodType; on?: string };

function functionOf({ on: stream = "one", ...options }: Options): ReadonlyMap<string, StreamFunction> {
  const definition = on(stream, { name: "f", ...options } as never, () => undefined);
  const read = readFunction(definition, "f.ts", streams, new Set());
  assert.ok("timeoutMs" in read, JSON.stringify(read));
  return new Map([["f", read]]);
}

const state = z.object({ n: z.int(), inner: z.object({ seen: z.string() }).optional() });

const refused: [string, Options, RegExp][] = [
  ["another key", { state, key: "b" as never }, /its key was "a" and is "b".*/],
  ["another stream", { state, on: "two" }, /it was on "one" and is on "two"/],
  ["no state any more", {}, /it has no state any more/],
  [
    "a field of another type",
    { state: state.extend({ n: z.string() }) },
    /"n" of the state was .*integer.* and is .*string/,
  ],
  ["a field less", { state: state.omit({ inner: true }) }, /the state has no "inner" any more/],
  [
    "a field that must be there",
    { state: state.extend({ m: z.int() }) },
    /the state must have "m", which stored state may lack/,
  ],
  [
    "a deeper field",
    { state: z.object({ n: z.int(), inner: z.object({ other: z.string() }).optional() }) },
    /"inner" of the state/,
  ],
  ["no object at all", { state: z.number() }, /the state was /],
];

for (const [what, options, wanted] of refused) {
  test(`${what} is refused, and taken with a higher version`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "millrace-versions-"));
    t.after(() => rm(dir, { recursive: true }));
    await (await checkFunctionVersions(functionsFile(dir, nodeFileSystem), functionOf({ state })))();
    const before = await readFile(join(dir, "functions.json"), "utf8");
    await assert.rejects(
      checkFunctionVersions(functionsFile(dir, nodeFileSystem), functionOf(options)),
      (error: Error & { hint: string }) => {
        assert.match(error.message, wanted);
        assert.match(error.hint, /version: 2/);
        return true;
      },
    );
    assert.equal(await readFile(join(dir, "functions.json"), "utf8"), before);
    await (await checkFunctionVersions(functionsFile(dir, nodeFileSystem), functionOf({ ...options, version: 2 })))();
    await assert.rejects(
      checkFunctionVersions(functionsFile(dir, nodeFileSystem), functionOf(options)),
      /version went back from 2 to 1/,
    );
  });
}

test("a function with state that begins to read features is refused, since its state is kept elsewhere then", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-versions-"));
  t.after(() => rm(dir, { recursive: true }));
  const plain = functionOf({ state }).get("f");
  assert.ok(plain);
  await (await checkFunctionVersions(functionsFile(dir, nodeFileSystem), new Map([["f", plain]])))();
  const reading = { ...plain, features: ["spend"] };
  await assert.rejects(
    checkFunctionVersions(functionsFile(dir, nodeFileSystem), new Map([["f", reading]])),
    /it reads features, and its state is kept elsewhere then/,
  );
  await checkFunctionVersions(functionsFile(dir, nodeFileSystem), new Map([["f", { ...reading, version: 2 }]]));
});

test("fields that may be missing, a first state, other options and functions that come and go keep state", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-versions-"));
  t.after(() => rm(dir, { recursive: true }));
  const take = async (functions: ReadonlyMap<string, StreamFunction>) =>
    (await checkFunctionVersions(functionsFile(join(dir, "react"), nodeFileSystem), functions))();
  await take(functionOf({}));
  await take(functionOf({ state }));
  await take(functionOf({ state: state.extend({ more: z.string().optional() }), timeout: "1s", emits: [] }));
  await take(new Map());
  // It is remembered what its state was.
  await assert.rejects(take(functionOf({ state })), /the state has no "more" any more/);
  await take(functionOf({ state: state.extend({ more: z.string().optional() }) }));
});
