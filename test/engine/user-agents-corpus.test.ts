/** What is read out of user agents, against uap-core's newer tests and the crawler list's examples: how much of them is right, never less. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { parse } from "yaml";
import { isCrawler, parseUserAgent, type UserAgent } from "../../src/engine/user-agents.ts";
import { sharedData } from "../gateway/shared-data.ts";

interface Case {
  readonly user_agent_string: string;
  readonly family: string;
}

/** Of how many texts the families are as many the expected ones; what tests call "Other" is null here. */
const FLOORS: readonly { field: keyof UserAgent; file: string; right: number; of: number }[] = [
  { field: "device", file: "test_device", right: 16_117, of: 16_129 },
  { field: "os", file: "test_os", right: 472, of: 483 },
  { field: "browser", file: "test_ua", right: 1_433, of: 1_601 },
];

const agents = sharedData("ua-parser");
if (agents !== undefined) {
  for (const { field, file, right, of } of FLOORS) {
    test(`${field} of uap-core's own tests: at least ${right} of ${of}`, () => {
      const text = zstdDecompressSync(readFileSync(join(agents, "tests", `${file}.yaml.zst`))).toString();
      const cases = (parse(text) as { test_cases: Case[] }).test_cases;
      assert.equal(cases.length, of);
      const found = cases.filter((c) => (parseUserAgent(c.user_agent_string)[field] ?? "Other") === c.family);
      assert.ok(found.length >= right, `${found.length} of ${of} are right`);
    });
  }
}

interface Crawler {
  readonly instances: readonly string[];
}

const crawlers = sharedData("crawler-ua");
if (crawlers !== undefined) {
  test("crawlers of the list's newer examples: all 2,116", () => {
    const list = JSON.parse(readFileSync(join(crawlers, "crawler-user-agents.json"), "utf8")) as Crawler[];
    const instances = list.flatMap((crawler) => crawler.instances);
    assert.equal(instances.length, 2_116);
    assert.deepEqual(
      instances.filter((text) => !isCrawler(text)),
      [],
    );
  });
}

test("every example of the crawler list that is installed is a crawler, and browsers are none", () => {
  const file = createRequire(import.meta.url).resolve("crawler-user-agents");
  assert.ok(existsSync(file));
  const list = JSON.parse(readFileSync(file, "utf8")) as Crawler[];
  const missed = list.flatMap((crawler) => crawler.instances).filter((text) => !isCrawler(text));
  assert.deepEqual(missed, []);
  const browsers = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  ];
  assert.deepEqual(browsers.map(isCrawler), [false, false, false]);
  assert.deepEqual(
    browsers.map((text) => parseUserAgent(text).browser),
    ["Chrome", "Mobile Safari", "Firefox"],
  );
});
