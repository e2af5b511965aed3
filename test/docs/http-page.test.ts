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
 * The answer to an `http meanwhile` comes later on the page: behind an answer.
 */
const ROOT = resolve(import.meta.dirname, "../..");
const page = await readFile(join(ROOT, "docs/http.md"), "utf8");
interface Block {
  readonly kind: string;
  readonly mark: string;
  readonly text: string;
}
const blocks: Block[] = [...page.matchAll(/^```(http|answer)([^\n]*)\n(.*?)^```$/gms)].map(([, kind, mark, text]) => ({
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
  assert.ok(blocks.length > 0, "there are examples");
  const meanwhile: { text: string; response: Promise<Response> }[] = [];
  for (let i = 0; i < blocks.length; i++) {
    const [block, next] = [blocks[i] as Block, blocks[i + 1]];
    const name = block.text.split("\n", 1)[0] as string;
    if (block.kind === "http" && block.mark === "meanwhile") {
      meanwhile.push({ text: name, response: send(platform, block.text) });
      continue;
    }
    if (block.kind === "answer") {
      const asked = meanwhile.shift();
      assert.ok(asked, `the answer in block ${i} of the page has no request`);
      await t.test(`${asked.text}, later`, async () => verify(await asked.response, Number(block.mark), block.text));
      continue;
    }
    assert.equal(next?.kind, "answer", `the request in block ${i} of the page has no answer`);
    const { mark, text } = next as Block;
    i++;
    await t.test(name, async () => {
      await stored(platform);
      const deadline = Date.now() + 60_000;
      for (;;) {
        try {
          return await verify(await send(platform, block.text), Number(mark), text);
        } catch (error) {
          // What runs beside it takes a moment to begin.
          if (meanwhile.length === 0 || !block.text.startsWith("GET ") || Date.now() > deadline) throw error;
          await sleep(50);
        }
      }
    });
  }
  assert.equal(meanwhile.length, 0, "every request has an answer");
});

/** The page shows what the tables have once everything is flushed and refreshed. */
async function stored(platform: RunningPlatform): Promise<void> {
  for (;;) {
    const { body } = await platform.get<{ hops: { pending: number }[] }>("/v1/ledger");
    if (body.hops.every((hop) => hop.pending === 0)) return;
    await sleep(50);
  }
}

function send(platform: RunningPlatform, request: string): Promise<Response> {
  const { first, headers, body } = parts(request);
  const [method = "", path = ""] = first.split(" ");
  return fetch(platform.url + path, {
    method,
    headers: { authorization: `Bearer ${platform.key}`, ...headers },
    ...(body === "" ? {} : { body }),
  });
}

async function verify(response: Response, status: number, answer: string): Promise<void> {
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
  else if (place.endsWith(".progress") && got === null)
    return; // while the engine has no estimate
  else assert.equal(typeof got, typeof wanted, `${place}: got ${JSON.stringify(got)}`);
}
