import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { build } from "esbuild";
import { openChromium } from "../browser/chromium.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

/*
 * The `ts` examples of docs/segment.md are one project; the snippets for Node and browsers send to it, and the queries are asked of it. Those for
 * other languages are lines of the programs that `npm run test:sdks` runs.
 */
const ROOT = resolve(import.meta.dirname, "../..");
const page = await readFile(join(ROOT, "docs/segment.md"), "utf8");
const examples = [...page.matchAll(/^```(\w+) ?([^\n]*)\n(.*?)^```$/gms)].map(([, kind, mark, code]) => ({
  kind: kind as string,
  mark: mark as string,
  code: code as string,
}));
const only = (kind: string, mark = ""): string => {
  const found = examples.filter((example) => example.kind === kind && example.mark === mark);
  assert.equal(found.length, 1, `${kind} ${mark}`);
  return found[0]?.code as string;
};

test("the page's sources take what its snippets send, and its queries find it", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "segment-page-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const project = join(dir, "project");
  await mkdir(project);
  await writeFile(
    join(project, "millrace.config.ts"),
    'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "app" });\n',
  );
  for (const { kind, mark, code } of examples) if (kind === "ts") await writeFile(join(project, mark), code);
  await using platform = await RunningPlatform.start(relative(ROOT, project), join(dir, "data"), [
    "--cors-origins",
    "*",
  ]);
  const keyOf = async (source: string) => {
    assert.ok(page.includes("millrace keys create --name website --scopes write:app"));
    const { stdout } = await platform.command(
      "keys",
      "create",
      "--name",
      "website",
      "--scopes",
      `write:${source}`,
      "--json",
    );
    return (JSON.parse(stdout) as { token: string }).token;
  };
  const writeKey = await keyOf("app");
  const here = (code: string) =>
    code.replaceAll("WRITE_KEY", writeKey).replaceAll("http://localhost:8080", platform.url);
  const arrived = async (type: string) => {
    for (let tries = 0; tries < 200; tries++) {
      const rows = await platform.sql(`select type from silver.app where type = '${type}'`);
      if (rows.length > 0) return rows.length;
      await sleep(50);
    }
    return 0;
  };

  await t.test("Node", async () => {
    const file = join(ROOT, "node_modules/.segment-page-example.mjs");
    await writeFile(file, here(only("js", "node")));
    try {
      await promisify(execFile)(process.execPath, [file]);
    } finally {
      await rm(file);
    }
    assert.equal(await arrived("track"), 1);
  });

  await t.test("browsers", async () => {
    const stdin = { contents: here(only("js", "browser")), resolveDir: ROOT };
    const { outputFiles } = await build({ stdin, bundle: true, write: false, format: "esm", logLevel: "silent" });
    const site = createServer((request, response) => {
      const isScript = request.url === "/app.js";
      response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
      response.end(isScript ? outputFiles[0]?.text : '<!doctype html><script type="module" src="/app.js"></script>');
    });
    site.listen(0, "127.0.0.1");
    await once(site, "listening");
    const browser = await openChromium(join(dir, "profile"));
    try {
      const tab = await browser.newPage();
      await tab.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
      assert.equal(await arrived("page"), 1);
    } finally {
      await browser.close();
      site.closeAllConnections();
      site.close();
    }
  });

  await t.test("curl", async () => {
    const [, path, key, body] = /curl http:\/\/localhost:8080(\S+) -u (\S+): -d '(.*)'/.exec(page) ?? [];
    assert.equal(key, "WRITE_KEY");
    const headers = {
      authorization: `Basic ${btoa(`${writeKey}:`)}`,
      "content-type": "application/x-www-form-urlencoded",
    };
    const response = await fetch(`${platform.url}${path}`, { method: "POST", headers, body: body as string });
    assert.deepEqual([response.status, await response.json()], [200, { success: true }]);
  });

  await t.test("queries", async () => {
    const order = {
      event: "Order Completed",
      userId: "ada",
      messageId: "o",
      properties: { order_id: "o1", total: 9.5 },
    };
    const headers = { authorization: `Bearer ${await keyOf("shop")}` };
    const body = JSON.stringify(order);
    assert.equal((await fetch(`${platform.url}/v1/track`, { method: "POST", headers, body })).status, 200);
    const answers = [];
    for (const { code } of examples.filter(({ kind }) => kind === "sql")) answers.push(await platform.sql(code));
    assert.deepEqual(
      answers[0]?.map(([, event, users]) => [event, users]),
      [["Signed Up", 1]],
    );
    assert.deepEqual(answers.slice(1), [[], [["o1", 9.5, null]]]);
  });
});

test("the snippets for other languages are lines of the programs that use these libraries", async () => {
  for (const [kind, file] of [
    ["python", "python/send.py"],
    ["go", "go/main.go"],
    ["java", "java/src/main/java/Send.java"],
  ] as const) {
    const bare = (text: string) =>
      text
        .split("\n")
        .map((line) => line.trim())
        .join("\n")
        .trim();
    const program = bare(await readFile(join(ROOT, "test/sdks", file), "utf8"));
    assert.ok(program.includes(bare(only(kind))), file);
  }
});

test("the versions that the page names are those that are tested", async () => {
  const { devDependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as {
    devDependencies: Record<string, string>;
  };
  const sources = await Promise.all(
    ["python/requirements.txt", "go/go.mod", "java/pom.xml"].map((file) =>
      readFile(join(ROOT, "test/sdks", file), "utf8"),
    ),
  );
  for (const name of ["@segment/analytics-node", "@segment/analytics-next"])
    assert.ok(page.includes(`| \`${name}\` | ${devDependencies[name]}`), name);
  const [python, go, java] = [/==(\S+)/, /analytics-go\/v3 v(\S+)/, /<version>(3\S+)<\/version>/].map(
    (pattern, index) => pattern.exec(sources[index] as string)?.[1],
  );
  assert.ok(page.includes(`| \`segment-analytics-python\` | ${python}`));
  assert.ok(page.includes(`| \`analytics-go\` | ${go}`));
  assert.ok(page.includes(`| \`com.segment.analytics.java\` | ${java}`));
});
