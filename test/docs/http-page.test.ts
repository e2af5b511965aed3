import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { millrace, RunningPlatform } from "../platform/running-platform.ts";

/*
 * docs/http.md is one conversation with the project of `millrace init`. An `http` block is a request, the `answer STATUS` block after it what must come:
 * the headers that are named, word for word, and the body. Of a JSON body the shape counts (keys both ways, types of
 * values; of a list the first entry speaks for all) and every `code`, word for word; any other body counts word for word.
 */
const ROOT = resolve(import.meta.dirname, "../..");
const page = await readFile(join(ROOT, "docs/http.md"), "utf8");
const blocks = [...page.matchAll(/^```(http|answer)([^\n]*)\n(.*?)^```$/gms)].map(([, kind, mark, text]) => ({
  kind: kind as string,
  mark: (mark as string).trim(),
  text: text as string,
}));

test("every example of the HTTP page is answered the way the page says", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "http-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const project = join(dir, "shop");
  assert.equal((await millrace(["init", project])).code, 0);
  await using platform = await RunningPlatform.start(relative(ROOT, project), join(dir, "data"), [
    "--flush-interval",
    "100ms",
  ]);
  assert.ok(blocks.length > 0 && blocks.length % 2 === 0, "requests and answers come in pairs");
  for (let i = 0; i < blocks.length; i += 2) {
    const [request, answer] = [blocks[i], blocks[i + 1]];
    assert.ok(request?.kind === "http" && answer?.kind === "answer", `block ${i} of the page is out of order`);
    await t.test(request.text.split("\n", 1)[0] as string, async () => {
      await stored(platform);
      await check(platform, request.text, Number(answer.mark), answer.text);
    });
  }
});

/** The page shows what the tables have once everything is flushed and refreshed. */
async function stored(platform: RunningPlatform): Promise<void> {
  for (;;) {
    const { body } = await platform.get<{ hops: { pending: number }[] }>("/v1/ledger");
    if (body.hops.every((hop) => hop.pending === 0)) return;
    await sleep(50);
  }
}

async function check(platform: RunningPlatform, request: string, status: number, answer: string): Promise<void> {
  const { first, headers, body } = parts(request);
  const [method = "", path = ""] = first.split(" ");
  const response = await fetch(platform.url + path, {
    method,
    headers: { authorization: `Bearer ${platform.key}`, ...headers },
    ...(body === "" ? {} : { body }),
  });
  const got = await response.text();
  assert.equal(response.status, status, got);
  const wanted = answer.startsWith("{") ? { headers: {}, body: answer } : parts(`\n${answer}`);
  for (const [name, value] of Object.entries(wanted.headers)) assert.equal(response.headers.get(name), value, name);
  if (wanted.body === "") return;
  if (wanted.body.startsWith("{")) sameShape(JSON.parse(got), JSON.parse(wanted.body), "$");
  else assert.equal(got.replaceAll("\r\n", "\n"), wanted.body);
}

function parts(text: string): { first: string; headers: Record<string, string>; body: string } {
  const [head = "", ...rest] = text.split("\n\n");
  const [first = "", ...lines] = head.trimEnd().split("\n");
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  return { first, headers, body: rest.join("\n\n") };
}

function sameShape(got: unknown, wanted: unknown, place: string): void {
  if (Array.isArray(wanted)) {
    assert.ok(Array.isArray(got), `${place} is a list, got ${JSON.stringify(got)}`);
    if (wanted.length === 0) assert.equal(got.length, 0, place);
    else assert.ok(got.length > 0, `${place} is not empty`);
    wanted.forEach((entry, index) => {
      sameShape(got[index], entry, `${place}[${index}]`);
    });
  } else if (typeof wanted === "object" && wanted !== null) {
    assert.ok(typeof got === "object" && got !== null, `${place} is an object, got ${JSON.stringify(got)}`);
    assert.deepEqual(Object.keys(got).sort(), Object.keys(wanted).sort(), place);
    for (const [name, value] of Object.entries(wanted)) {
      sameShape((got as Record<string, unknown>)[name], value, `${place}.${name}`);
    }
  } else if (place.endsWith(".code")) assert.equal(got, wanted, place);
  else assert.equal(typeof got, typeof wanted, `${place}: got ${JSON.stringify(got)}`);
}
