/** Segment's libraries for Python, Go and Java against the real platform, with troubles on the way: `npm run test:sdks`. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { SdkPlatform } from "../segment/sdk-platform.ts";
import type { Trouble } from "../segment/troubled-proxy.ts";
import { SDKS } from "./install.ts";

const COUNT = 60;
const TROUBLES: readonly Trouble[] = [
  { status: 429, headers: { "retry-after": "1" } },
  "cut-after",
  { status: 503 },
  "cut-before",
];
let sdk: SdkPlatform;

before(async () => {
  sdk = await SdkPlatform.open();
});
after(() => sdk?.close());

for (const { name, library, gzip, troubles, install } of SDKS) {
  describe(`Segment's library for ${name}`, () => {
    it("delivers every type of message, each once, through refusals and connections cut before and after storing", async () => {
      const [program, ...args] = install();
      const first = sdk.proxy.passed.length;
      sdk.proxy.troubles = TROUBLES.slice(0, troubles);
      const child = spawn(program as string, [...args, sdk.proxy.url, sdk.writeKey, name, String(COUNT)], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      let said = "";
      for (const output of [child.stdout, child.stderr])
        output.on("data", (text) => {
          said += text;
        });
      const [code] = (await once(child, "close")) as [number | null];
      assert.equal(code, 0, said);

      const arrived = await sdk.arrived(`${name}-`, COUNT + 6);
      assert.deepEqual(sdk.proxy.troubles, [], "every trouble was met");
      const kinds = arrived.map(({ type, what }) => `${type} ${what}`);
      const expected = [
        ...["identify ", "track Signed Up", "page Home", "screen Inbox", "group g1", `alias ${name}-0`],
        ...Array.from({ length: COUNT }, (_, n) => `track Event ${n}`),
      ];
      assert.deepEqual(kinds.toSorted(), expected.toSorted());
      assert.deepEqual([...new Set(arrived.map((message) => message.library))], [library]);
      const [page] = arrived.filter(({ type }) => type === "page");
      assert.equal(page?.data?.url, "https://x.example/?q=ü");
      const [[time]] = (await sdk.platform.sql(
        `select epoch(original_timestamp)::bigint from app.tracks where event = 'Signed Up' and user_id = '${name}-1'`,
      )) as [[number]];
      assert.equal(time, 1577836800);
      const sent = sdk.proxy.passed.slice(first).filter(({ method }) => method === "POST");
      assert.equal(
        sent.every(({ headers }) => (headers["content-encoding"] === "gzip") === gzip),
        true,
      );
      await sdk.nothingLost();
    });
  });
}
