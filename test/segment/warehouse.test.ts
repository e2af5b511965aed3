import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { sharedData } from "../gateway/shared-data.ts";
import { SdkPlatform } from "./sdk-platform.ts";

/* What lies in the tables after messages came through the door of a running platform. */
let sdk: SdkPlatform;
const keys = new Map<string, string>();

before(async () => {
  sdk = await SdkPlatform.open("test/segment/plan-project");
  keys.set("app", sdk.writeKey);
  for (const source of ["lenient", "strict"]) {
    const made = await sdk.platform.command(
      "keys",
      "create",
      "--name",
      source,
      "--scopes",
      `write:${source}`,
      "--json",
    );
    keys.set(source, (JSON.parse(made.stdout) as { token: string }).token);
  }
});
after(() => sdk?.close());

interface BatchAnswer {
  readonly success: boolean;
  readonly rejected?: readonly { readonly index: number; readonly code: string; readonly message: string }[];
}

async function send(body: string | object, source = "app"): Promise<BatchAnswer> {
  const response = await fetch(`${sdk.platform.url}/v1/batch?writeKey=${keys.get(source)}`, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  assert.equal(response.status, 200);
  return (await response.json()) as BatchAnswer;
}

const order = (messageId: string, properties: object) => {
  return { type: "track", event: "Order Completed", userId: "plan-1", messageId, properties };
};

describe("the clock of a device", () => {
  it("is set right by what it says the time of sending is, and what it said is kept", async () => {
    const now = Date.now();
    const at = (ms: number) => new Date(ms).toISOString();
    const years = 20 * 365 * 86_400_000;
    const say = (userId: string, fields: object) => ({ type: "page", userId, messageId: userId, ...fields });
    await send({
      sentAt: at(now - years),
      batch: [
        say("clock-behind", { timestamp: at(now - years - 60_000) }),
        say("clock-original", { originalTimestamp: at(now - years - 60_000), timestamp: at(now) }),
        say("clock-none", {}),
        say("clock-unreadable", { timestamp: "yesterday" }),
        say("clock-infinite", { timestamp: "infinity" }),
      ],
    });
    await send({ sentAt: at(now + years), batch: [say("clock-ahead", { timestamp: at(now + years - 60_000) })] });
    await send({ batch: [say("clock-unsent", { timestamp: "2009-11-10T23:00:00.123456789+01:00" })] });
    const rows = await sdk.platform.sql(`select user_id, round(epoch(received_at) - epoch("timestamp")),
      original_timestamp is not null, sent_at is not null from silver.app where user_id like 'clock-%' order by user_id`);
    const [unsent] = rows.filter(([user]) => user === "clock-unsent");
    assert.deepEqual(
      rows.filter(([user]) => user !== "clock-unsent"),
      [
        ["clock-ahead", 60, true, true],
        ["clock-behind", 60, true, true],
        ["clock-infinite", 0, false, true],
        ["clock-none", 0, false, true],
        ["clock-original", 60, true, true],
        ["clock-unreadable", 0, false, true],
      ],
    );
    assert.deepEqual(unsent?.slice(2), [true, false]);
    const [[exact]] = (await sdk.platform.sql(`select "timestamp" from silver.app where user_id = 'clock-unsent'`)) as [
      [string],
    ];
    assert.equal(new Date(exact).toISOString(), "2009-11-10T22:00:00.123Z");
  });
});

describe("a messageId that comes again", () => {
  it("is stored once, is a duplicate in bronze, and that it said something else can be asked", async () => {
    const say = (messageId: string, event: string) => ({ type: "track", event, userId: "again-1", messageId });
    await send({ batch: [say("again-a", "First"), say("again-b", "Same")], sentAt: "2026-01-01T00:00:00Z" });
    await send({ batch: [say("again-a", "Second"), say("again-b", "Same")], sentAt: "2026-01-01T00:00:09Z" });
    const stored = await sdk.platform.sql(`select event from silver.app where user_id = 'again-1' order by event`);
    assert.deepEqual(stored, [["First"], ["Same"]]);
    const differing = await sdk.platform.sql(`
      select again._id, json_extract_string(first.payload, '$.event'), json_extract_string(again.payload, '$.event')
      from bronze.app as again
      join bronze.app as first on first._partition = again._partition and first._offset = again._duplicate_of
      where json_merge_patch(again.payload::json, '{"sentAt": null}') <> json_merge_patch(first.payload::json, '{"sentAt": null}')`);
    assert.deepEqual(
      differing.map(([, first, again]) => [first, again]),
      [["First", "Second"]],
    );
  });
});

describe("a write key", () => {
  it("is not made for a stream that is not there", async () => {
    const { code, stderr } = await sdk.platform.command("keys", "create", "--name", "x", "--scopes", "write:ap");
    assert.equal(code, 1);
    assert.match(stderr, /"ap", and there is no such stream; did you mean "app"\?/);
  });
});

describe("a tracking plan", () => {
  it("gives each planned event a table with a typed column for each property", async () => {
    await send({
      batch: [
        order("typed", {
          order_id: "o1",
          Total: 12.5,
          items: 3,
          paid: true,
          paidAt: "2026-01-05T10:00:00Z",
          lines: [{ sku: "a" }],
          id: "own",
          "coupon/code": "X",
          unplanned: 1,
        }),
      ],
    });
    const rows =
      await sdk.platform.sql(`select id, order_id, total, items, paid, paid_at, lines, properties_id, coupon_code,
      json_extract_string(properties, '$.unplanned'), typeof(total), typeof(items), typeof(paid), typeof(paid_at)
      from app.order_completed`);
    assert.deepEqual(rows, [
      [
        ...["typed", "o1", 12.5, 3, true, "2026-01-05T10:00:00.000Z", '[{"sku":"a"}]', "own", "X", "1"],
        ...["DOUBLE", "BIGINT", "BOOLEAN", "TIMESTAMP WITH TIME ZONE"],
      ],
    ]);
  });

  it("rejects what violates it, as a dead letter with the reason, and stores the rest of the batch", async () => {
    const { rejected } = await send({
      batch: [
        order("bad-1", { Total: 1 }),
        order("bad-2", { order_id: "o", Total: -1 }),
        order("good", { order_id: "o2" }),
      ],
    });
    assert.deepEqual(rejected, [
      { index: 0, code: "PLAN_VIOLATED", message: 'against the tracking plan: "/properties/order_id" must be there' },
      {
        index: 1,
        code: "PLAN_VIOLATED",
        message: 'against the tracking plan: "/properties/Total" must be >= 0, got -1',
      },
    ]);
    const letters = await sdk.platform.sql("select code from system.dead_letters where code = 'PLAN_VIOLATED'");
    assert.equal(letters.length, 2);
    assert.deepEqual(await sdk.platform.sql("select id from silver.app where id in ('bad-1', 'bad-2', 'good')"), [
      ["good"],
    ]);
  });

  it("holds a dead letter to the plan again when it is retried", async () => {
    const { stdout } = await sdk.platform.command("dead-letters", "retry", "--stream", "app", "--json");
    assert.match(stdout, /PLAN_VIOLATED/);
    assert.deepEqual(await sdk.platform.sql("select id from silver.app where id in ('bad-1', 'bad-2')"), []);
  });

  it("stores what violates it with the reason, where the plan is only to flag", async () => {
    const answer = await send(
      { batch: [order("flagged", { Total: "much" }), order("fine", { order_id: "o" })] },
      "lenient",
    );
    assert.deepEqual(answer, { success: true });
    const rows = await sdk.platform.sql("select id, total, plan_violation from lenient.order_completed order by id");
    assert.deepEqual(rows, [
      ["fine", null, null],
      ["flagged", null, '"/properties/order_id" must be there'],
    ]);
  });

  it("allows, flags or rejects events that it does not have", async () => {
    const other = { batch: [{ type: "track", event: "Other", userId: "u", messageId: "other" }] };
    assert.deepEqual(await send(other, "app"), { success: true });
    assert.deepEqual(await send(other, "lenient"), { success: true });
    assert.equal(
      (await send(other, "strict")).rejected?.[0]?.message,
      'against the tracking plan: the plan has no event "Other"',
    );
    const flags = [];
    for (const source of ["app", "lenient", "strict"])
      flags.push(await sdk.platform.sql(`select plan_violation from silver.${source} where id = 'other'`));
    assert.deepEqual(flags, [[['the plan has no event "Other"']], [[null]], []]);
  });
});

describe("every fixture of Segment's own tests", () => {
  const folder = sharedData("segment-fixtures/fixtures");
  it("is accepted and lands typed", { skip: folder === undefined }, async () => {
    const files = await readdir(folder as string);
    assert.ok(files.length >= 12);
    for (const file of files) {
      // They all have one id, and here they meet.
      const text = (await readFile(join(folder as string, file), "utf8")).replaceAll("I'm unique", file);
      const answer = await send(text, "lenient");
      assert.deepEqual(answer, { success: true }, file);
      const { batch } = JSON.parse(text) as { batch: Record<string, unknown>[] };
      const [first] = batch as [Record<string, unknown>];
      const rows =
        await sdk.platform.sql(`select type, user_id, event, name, group_id, previous_id, properties, integrations,
        context_library_name, context_library_version, epoch(original_timestamp), epoch(sent_at)
        from silver.lenient where id = '${String(first.messageId)}'`);
      assert.deepEqual(
        rows.map(([type, userId, event, name, groupId, previousId, properties, integrations, ...rest]) => [
          ...[type, userId, event, name, groupId, previousId],
          ...[JSON.parse(String(properties)), JSON.parse(String(integrations)), ...rest],
        ]),
        [
          [
            ...[first.type, first.userId, first.event ?? null, first.name ?? null],
            ...[first.groupId ?? null, first.previousId ?? null, first.properties ?? null, first.integrations ?? null],
            ...["analytics-go", "3.0.0", Date.parse(String(first.timestamp)) / 1000],
            Date.parse("2009-11-10T23:00:00Z") / 1000,
          ],
        ],
        file,
      );
    }
    const context = await sdk.platform.sql("select context from silver.lenient where id = 'test-context-track.json'");
    assert.equal((JSON.parse(String(context[0]?.[0])) as { whatever: string }).whatever, "here");
  });
});
