import assert from "node:assert/strict";
import { isUtf8 } from "node:buffer";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { brotliCompressSync, constants, gzipSync, zstdCompressSync } from "node:zlib";
import type { Answer, OpenDoor } from "./open-door.ts";
import { openDoor } from "./open-door.ts";
import { anything, NDJSON, orders } from "./orders.ts";
import { sharedData } from "./shared-data.ts";

const sample = '{"id":"a\\u00e9","n":1.5e1,"at":"2025-06-30T12:00:00Z","note":null,"x":[true,{"y":"é"}]}';

/** Posts, and holds the log to exactly what the answer says. */
async function postAndCheck(door: OpenDoor, body: Uint8Array, type: string): Promise<Answer> {
  const before = door.log.lines("orders").length;
  const letters = door.deadLetters.length;
  const answer = await door.post("orders", body, type);
  const stored = door.log.lines("orders").slice(before);
  assert.ok(answer.status < 500, `${answer.status}: ${body.toString()}`);
  const [accepted, rejected] = [answer.json.accepted ?? 0, answer.json.rejected?.length ?? 0];
  assert.equal(stored.length, accepted, Buffer.from(body).toString());
  assert.equal(door.deadLetters.length - letters, rejected);
  assert.equal(answer.status, accepted > 0 ? 202 : rejected > 0 ? 422 : answer.status);
  if (answer.status !== 202) assert.ok(answer.json.error.code && answer.json.error.message && answer.json.error.hint);
  for (const line of stored) {
    const event = JSON.parse(line) as { id: unknown; n: unknown };
    assert.ok(typeof event.id === "string" && typeof event.n === "number", line);
    assert.ok(Buffer.from(body).includes(line), "what is stored stands in the body");
  }
  return answer;
}

describe("a body that is broken anywhere", () => {
  it("cut after any byte: no server error, and the log holds what the answer says", async () => {
    await using door = await openDoor({ streams: [orders] });
    const bytes = Buffer.from(sample);
    for (let length = 0; length < bytes.length; length++) {
      const cut = await postAndCheck(door, bytes.subarray(0, length), "application/json");
      assert.equal(cut.status, 400, bytes.subarray(0, length).toString());
      await postAndCheck(door, Buffer.from(`{"id":"b","n":1}\n${bytes.subarray(0, length).toString("utf8")}`), NDJSON);
      const array = await postAndCheck(
        door,
        Buffer.concat([Buffer.from("["), bytes.subarray(0, length), Buffer.from("]")]),
        "application/json",
      );
      assert.equal(array.status, 400);
    }
    assert.deepEqual(door.failures, []);
  });

  it("changed at any byte: the same", async () => {
    await using door = await openDoor({ streams: [orders] });
    const lines = Buffer.from(`{"id":"b","n":1}\n${sample}\n{"id":"c","n":2}\n`);
    const array = Buffer.from(`[${sample},{"id":"c","n":2}]`);
    for (const flip of [0x01, 0x20, 0x80, 0xff]) {
      for (const [body, type] of [
        [lines, NDJSON],
        [array, "application/json"],
      ] as const) {
        for (let at = 0; at < body.length; at++) {
          const changed = Buffer.from(body);
          changed[at] = (changed[at] as number) ^ flip;
          const answer = await postAndCheck(door, changed, type);
          assert.equal(answer.json.error?.code === "BODY_NOT_UTF8", !isUtf8(changed));
        }
      }
    }
    assert.deepEqual(door.failures, []);
  });

  it("that is not UTF-8 is refused with the place of the first wrong byte", async () => {
    await using door = await openDoor({ streams: [orders] });
    const good = '{"id":"é€😀","n":1}\n';
    for (const wrong of [
      [0xff],
      [0xc3],
      [0xed, 0xa0, 0x80],
      [0xc0, 0xaf],
      [0xf4, 0x90, 0x80, 0x80],
      [0x80],
      [0xe2, 0x82],
    ]) {
      for (const times of [0, 1, 7, 2000]) {
        const before = Buffer.from(`${good.repeat(times)}{"id":"`);
        const body = Buffer.concat([before, Buffer.from(wrong), Buffer.from(`","n":1}\n${good}`)]);
        const answer = await door.post("orders", body, NDJSON);
        assert.deepEqual([answer.status, answer.json.error.code], [400, "BODY_NOT_UTF8"]);
        assert.equal(
          answer.json.error.message,
          `the body is not UTF-8: byte ${before.length} begins no valid character`,
        );
      }
    }
    assert.deepEqual(door.log.lines("orders"), []);
  });

  it("that begins with a byte order mark, or is UTF-16, is refused by name", async () => {
    await using door = await openDoor({ streams: [orders] });
    const marked = await door.post("orders", `\ufeff${sample}`);
    assert.match(marked.json.error.message, /at byte 0 a value was expected, a byte order mark stands there/);
    const lines = await door.post("orders", `\ufeff${sample}\n${sample}`, NDJSON);
    assert.match(lines.json.rejected[0].message, /a byte order mark stands there/);
    const wide = await door.post("orders", Buffer.from('{"id":"a","n":1}', "utf16le"));
    assert.deepEqual([wide.status, wide.json.error.code], [400, "BODY_MALFORMED_JSON"]);
  });

  it("with several values where one is taken is refused, with a word on NDJSON", async () => {
    await using door = await openDoor({ streams: [orders] });
    const answer = await door.post("orders", '{"id":"a","n":1}\n{"id":"b","n":2}');
    assert.deepEqual(
      [answer.status, answer.json.error.code, answer.json.error.details],
      [400, "BODY_MALFORMED_JSON", { position: 17 }],
    );
    assert.match(answer.json.error.hint, /application\/x-ndjson/);
  });
});

describe("the corpora", () => {
  it("every file of JSONTestSuite: y_ is stored or refused for a reason with a name, n_ is refused", async () => {
    const folder = sharedData("jsontestsuite");
    await using door = await openDoor({ streams: [anything], settings: { maxBodyBytes: 4 * 1024 * 1024 } });
    for (const file of folder === undefined ? [] : readdirSync(join(folder, "test_parsing"))) {
      const content = readFileSync(join(folder as string, "test_parsing", file));
      const wrapped = Buffer.concat([Buffer.from('{"v":'), content, Buffer.from("}")]);
      const before = door.log.lines("anything").length;
      const answer = await door.post("anything", wrapped);
      const bare = await door.post("anything", content);
      assert.ok(answer.status < 500 && bare.status < 500, file);
      if (file.startsWith("y_") && answer.status !== 202) {
        assert.match(answer.json.rejected[0].code, /^EVENT_(NOT_STORABLE|DUPLICATE_KEY|TOO_DEEP)$/, file);
      }
      if (file.startsWith("n_")) {
        assert.notEqual(answer.status, 202, file);
        assert.notEqual(bare.status, 202, file);
      }
      const again = await door.post("anything", wrapped);
      assert.equal(again.status, answer.status, `${file} is judged the same twice`);
      const stored = door.log.lines("anything").slice(before);
      assert.ok(
        stored.every((line) =>
          Buffer.from(line).equals(Buffer.from(wrapped.toString("utf8").replaceAll(/[\r\n]/g, " "))),
        ),
        file,
      );
    }
    assert.deepEqual(door.failures, []);
  });

  it("naughty strings are stored and come back byte for byte", async () => {
    const folder = sharedData("blns");
    const texts =
      folder === undefined
        ? ["Ω≈ç", "\u202etest", "\u2028", "👩‍👩‍👧", "\ufeff", "<script>", "' OR 1=1"]
        : (JSON.parse(readFileSync(join(folder, "blns.json"), "utf8")) as string[]);
    await using door = await openDoor({ streams: [anything] });
    const lines = texts.map((text) => JSON.stringify({ v: { [text]: text } }));
    const answer = await door.post("anything", lines.join("\n"), NDJSON);
    assert.equal(answer.json.accepted, texts.length);
    const back = await door.call("GET", "/v1/streams/anything/events?limit=1000", { key: "query-key" });
    assert.equal(back.text, lines.map((line) => `${line}\n`).join(""));
  });
});

const QUALITY = constants.BROTLI_PARAM_QUALITY;

describe("a compressed body", () => {
  const codecs = [
    ["gzip", gzipSync],
    ["zstd", zstdCompressSync],
    ["br", brotliCompressSync],
  ] as const;
  const lines = '{"id":"a","n":1}\n'.repeat(100);

  it("is unpacked, and stored as if it had come unpacked", async () => {
    await using door = await openDoor({ streams: [orders] });
    for (const [encoding, pack] of codecs) {
      for (const header of [encoding, encoding.toUpperCase()]) {
        const answer = await door.post("orders", pack(Buffer.from(lines)), {
          "content-type": NDJSON,
          "content-encoding": header,
        });
        assert.equal(answer.json.accepted, 100, encoding);
      }
    }
    assert.equal(
      (await door.post("orders", lines, { "content-type": NDJSON, "content-encoding": "identity" })).json.accepted,
      100,
    );
    assert.equal(door.log.lines("orders").length, 700);
  });

  it("of several gzip members or zstd frames is one body, of which nothing is lost", async () => {
    await using door = await openDoor({ streams: [orders] });
    for (const [encoding, pack] of codecs.slice(0, 2)) {
      const parts = [lines.slice(0, 500), lines.slice(500, 501), "", lines.slice(501)].map((part) =>
        pack(Buffer.from(part)),
      );
      const answer = await door.post("orders", Buffer.concat(parts), {
        "content-type": NDJSON,
        "content-encoding": encoding,
      });
      assert.equal(answer.json.accepted, 100, encoding);
    }
  });

  it("that is cut anywhere, damaged, followed by something, or not compressed at all, is refused whole", async () => {
    await using door = await openDoor({ streams: [orders] });
    for (const [encoding, pack] of codecs) {
      const packed = pack(Buffer.from(lines));
      const broken = [Buffer.from(lines), Buffer.concat([packed, Buffer.from("more")])];
      for (let length = 1; length < packed.length; length++) broken.push(packed.subarray(0, length));
      for (const body of broken) {
        const answer = await door.post("orders", body, { "content-type": NDJSON, "content-encoding": encoding });
        assert.deepEqual(
          [answer.status, answer.json.error.code],
          [400, "BODY_ENCODING_BROKEN"],
          `${encoding} ${body.length}`,
        );
      }
      const empty = await door.post("orders", "", { "content-type": NDJSON, "content-encoding": encoding });
      assert.equal(empty.status, 400);
    }
    assert.deepEqual(door.log.lines("orders"), []);
    assert.deepEqual(door.failures, []);
  });

  it("that is a bomb stops at the limit", async () => {
    await using door = await openDoor({ streams: [orders], settings: { maxBodyBytes: 100_000 } });
    const spaces = Buffer.alloc(50_000_000, " ");
    for (const [encoding, pack] of codecs) {
      const packed = encoding === "br" ? brotliCompressSync(spaces, { params: { [QUALITY]: 3 } }) : pack(spaces);
      assert.ok(packed.length < 100_000, "the bomb is small enough to come in");
      const answer = await door.post("orders", packed, { "content-type": NDJSON, "content-encoding": encoding });
      assert.deepEqual([answer.status, answer.json.error.code], [413, "BODY_TOO_LARGE"], encoding);
      assert.match(answer.json.error.message, /larger than 100000 bytes when unpacked/);
    }
    const exact = Buffer.from('{"id":"a","n":1}'.padEnd(100_000));
    for (const [encoding, pack] of codecs) {
      assert.equal(
        (await door.post("orders", pack(exact), { "content-type": NDJSON, "content-encoding": encoding })).status,
        202,
      );
      const over = await door.post("orders", pack(Buffer.concat([exact, Buffer.from(" ")])), {
        "content-type": NDJSON,
        "content-encoding": encoding,
      });
      assert.equal(over.status, 413);
    }
  });
});

describe("a body that is too large", () => {
  it("is refused by its length before it is read, and by count when it has none; the next request is served", async () => {
    await using door = await openDoor({ streams: [orders], settings: { maxBodyBytes: 50_000 } });
    const event = '{"id":"a","n":1}';
    const exact = event.padEnd(50_000);
    for (const headers of [
      { "content-type": "application/json" },
      { "content-type": "application/json", "transfer-encoding": "chunked" },
    ]) {
      assert.equal((await door.post("orders", exact, headers)).status, 202);
      const answer = await door.post("orders", `${exact} `, headers);
      assert.deepEqual([answer.status, answer.json.error.code], [413, "BODY_TOO_LARGE"]);
      assert.equal((await door.post("orders", event)).status, 202);
    }
    const huge = await door.post("orders", "x".repeat(3_000_000), "application/json");
    assert.deepEqual([huge.status, huge.headers.connection], [413, "close"]);
    assert.match(await door.registry.metrics(), /millrace_door_inflight_bytes 0\n/);
  });
});
