import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { LetterView } from "../../src/flow/dead-letter-desk.ts";
import type { Receipt } from "../../src/flow/receipt.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "./running-platform.ts";

const line = (id: number, more: Record<string, unknown> = {}) => ({
  invoice_no: `i${id}`,
  line_id: `l${id}`,
  stock_code: "85123A",
  quantity: 2,
  invoice_date: "2026-01-05T10:00:00Z",
  unit_price: "1.500",
  country: "Germany",
  ...more,
});

test("a refused event is found, corrected, sent again and traced, by the command and over HTTP, and outlives a kill", async () => {
  await using dir = await temporaryFolder();
  const refused = JSON.stringify(line(3, { quantity: "many" }));
  let id = "";
  {
    await using platform = await RunningPlatform.start("examples/securecart", dir.path);
    await platform.post("order_lines", [line(1), refused, "{broken"]);
    const listed = await platform.get<{ deadLetters: LetterView[] }>(
      "/v1/dead-letters?stream=order_lines&code=EVENT_INVALID",
    );
    assert.equal(listed.status, 200);
    const letter = listed.body.deadLetters[0] ?? assert.fail("nothing is listed");
    assert.deepEqual([letter.stage, letter.status, letter.attempts], ["door", "open", 1]);
    id = letter.id;
    const shown = await platform.get<{ deadLetter: { payload: string } }>(`/v1/dead-letters/${encodeURIComponent(id)}`);
    assert.equal(shown.body.deadLetter.payload, refused);
    const raw = await platform.command("dead-letters", "show", id, "--raw");
    assert.equal(raw.stdout, refused);

    const same = await platform.command("dead-letters", "retry", id);
    assert.equal(same.code, 1);
    assert.match(same.stderr, /EVENT_INVALID/);
    const file = join(dir.path, "corrected.json");
    await writeFile(file, JSON.stringify(line(3), undefined, 2));
    const retried = await platform.command("dead-letters", "retry", id, "--payload", file, "--json");
    assert.equal(retried.code, 0, retried.stderr);
    assert.deepEqual(JSON.parse(retried.stdout).results, [{ id, outcome: "appended", partition: 0, offset: 1 }]);
    await platform.stop("SIGKILL");
  }
  await using platform = await RunningPlatform.start("examples/securecart", dir.path);
  const twice = await platform.command("dead-letters", "retry", id);
  assert.equal(twice.code, 1);
  assert.match(twice.stderr, /DEAD_LETTER_SETTLED/);
  const rows = await platform.sql(
    "select code, status, attempts, retried_offset from system.dead_letters order by code",
  );
  assert.deepEqual(rows, [
    ["EVENT_INVALID", "retried", 3, 1],
    ["EVENT_MALFORMED_JSON", "open", 1, null],
  ]);
  const discarded = await platform.command("dead-letters", "discard", "--stream", "order_lines", "--reason", "a test");
  assert.equal(discarded.stdout, "1 discarded\n");

  const eventId = (await platform.sql("select _id from order_lines where invoice_no = 'i3'"))[0]?.[0] as string;
  const receipt = await platform.get<Receipt>(`/v1/streams/order_lines/events/${encodeURIComponent(eventId)}`);
  assert.equal(receipt.status, 200);
  const arrival = receipt.body.arrivals[0] ?? assert.fail("no arrival");
  assert.deepEqual([arrival.original, arrival.partition, arrival.offset], [true, 0, 1]);
  assert.match(arrival.source, /^dead-letter\//);
  const where = await platform.command("where", eventId, "--stream", "order_lines");
  assert.equal(where.code, 0, where.stderr);
  assert.match(where.stdout, /partition 0, offset 1/);
  assert.match(where.stdout, /silver\.order_lines/);
  const unknown = await platform.command("where", "nobody", "--stream", "order_lines");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /EVENT_UNKNOWN.*searched were all 2 events/);
  const ledger = await platform.get<{ balanced: boolean }>("/v1/ledger");
  assert.equal(ledger.body.balanced, true);
});

test("wrong questions about dead letters are told what is wrong", async () => {
  await using dir = await temporaryFolder();
  await using platform = await RunningPlatform.start("examples/securecart", dir.path);
  const refusal = async (path: string, body?: unknown) => {
    const response = await fetch(`${platform.url}${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${platform.key}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const { error } = (await response.json()) as { error: { code: string } };
    return `${response.status} ${error.code}`;
  };
  const cases: [string, string, unknown?][] = [
    ["404 STREAM_UNKNOWN", "/v1/dead-letters?stream=nothing"],
    ["404 TABLE_UNKNOWN", "/v1/dead-letters?table=silver.nothing"],
    ["400 PARAMETER_INVALID", "/v1/dead-letters?stage=somewhere"],
    ["400 PARAMETER_INVALID", "/v1/dead-letters?status=lost"],
    ["400 PARAMETER_INVALID", "/v1/dead-letters?limit=0"],
    ["400 PARAMETER_INVALID", "/v1/dead-letters?colour=red"],
    ["404 DEAD_LETTER_UNKNOWN", "/v1/dead-letters/no%2Fsuch%2Fletter"],
    ["404 DEAD_LETTER_UNKNOWN", "/v1/dead-letters/retry", { ids: ["none"] }],
    ["400 REQUEST_INVALID", "/v1/dead-letters/retry", {}],
    ["400 REQUEST_INVALID", "/v1/dead-letters/retry", { filter: {} }],
    ["400 REQUEST_INVALID", "/v1/dead-letters/retry", { ids: ["a"], filter: { stage: "door" } }],
    ["400 REQUEST_INVALID", "/v1/dead-letters/retry", { filter: { status: "open" } }],
    ["422 DEAD_LETTER_PAYLOAD", "/v1/dead-letters/retry", { filter: { stage: "door" }, payload: {} }],
    ["400 REQUEST_INVALID", "/v1/dead-letters/discard", { filter: { stage: "door" } }],
    ["404 EVENT_UNKNOWN", "/v1/streams/order_lines/events/nobody"],
    ["404 STREAM_UNKNOWN", "/v1/streams/_dead_letters/events/0-0"],
    ["400 PARAMETER_INVALID", "/v1/streams/order_lines/events/x?older=maybe"],
  ];
  for (const [expected, path, body] of cases) assert.equal(await refusal(path, body), expected, path);
  const wrong = await platform.command("dead-letters", "retry");
  assert.equal(wrong.code, 2);
});
