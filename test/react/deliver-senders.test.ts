import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import type { Definition } from "../../src/define/definition.ts";
import { opsgenie, pagerduty, slack, webhook } from "../../src/define/destinations.ts";
import { readDestination } from "../../src/define/read-destination.ts";
import { env } from "../../src/define/secret.ts";
import { type OutsideDestination, openSender } from "../../src/react/deliver/open-sender.ts";
import { opsgenieRequest } from "../../src/react/deliver/opsgenie-sender.ts";
import { pagerdutyEvent } from "../../src/react/deliver/pagerduty-sender.ts";
import { DeliveryFailure, type Sender } from "../../src/react/deliver/sender.ts";
import { slackMessage } from "../../src/react/deliver/slack-sender.ts";
import { sign, webhookId } from "../../src/react/deliver/webhook-sender.ts";
import { change } from "./changes.ts";
import { type Answer, Receiver, status, taken, verify } from "./receiver.ts";

const NOW = Date.parse("2026-03-01T10:00:05.400Z");
const never = new AbortController().signal;

function open(definition: Definition, variables: Record<string, string> = {}): Promise<Sender> {
  const read = readDestination(definition, "ops.ts");
  if (!("kind" in read)) assert.fail(JSON.stringify(read));
  return openSender(read as OutsideDestination, { env: variables, clock: () => NOW });
}

async function failure(sender: Sender): Promise<DeliveryFailure> {
  try {
    await sender.send([change(1)], never);
  } catch (error) {
    if (error instanceof DeliveryFailure) return error;
    throw error;
  }
  assert.fail("it was taken");
}

test("a signature is the one that Standard Webhooks gives as its example", () => {
  const key = Buffer.from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64");
  const signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", '{"test": 2432232314}');
  assert.equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
});

test("a webhook is the change as JSON, signed with every secret, under an id that each attempt has", async () => {
  await using receiver = await Receiver.start();
  const secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "the old secret, still in use"];
  const options = {
    url: receiver.url("/in?a=b"),
    secret: [secrets[0]!, env("OLD")],
    headers: { "X-Team": env("TEAM") },
  };
  const sender = await open(webhook("ops", options), { OLD: secrets[1]!, TEAM: "fleet" });
  assert.equal(sender.address, `http://127.0.0.1:${receiver.port}`);
  const told = change(7, { key: "a\nkey: with\r\nlines.and.dots" });
  await sender.send([told], never);
  await sender.send([told], never);
  const [first, second] = receiver.received;
  for (const secret of secrets) verify(secret, first!, NOW);
  assert.throws(() => verify("another secret altogether", first!, NOW));
  assert.deepEqual([first?.method, first?.path, first?.headers["x-team"]], ["POST", "/in?a=b", "fleet"]);
  assert.match(String(first?.headers["content-type"]), /^application\/json/);
  assert.equal(first?.headers["webhook-timestamp"], String(Math.floor(NOW / 1000)));
  assert.match(String(first?.headers["webhook-id"]), /^msg_[A-Za-z0-9_-]{43}$/);
  assert.equal(first?.headers["webhook-id"], second?.headers["webhook-id"]);
  assert.notEqual(webhookId("a/firing"), webhookId("a/resolved"));
  const { offset: _, ...data } = told;
  assert.deepEqual(first?.body, { type: "alert.firing", timestamp: told.at, data });
});

test("a webhook without a secret is not signed", async () => {
  await using receiver = await Receiver.start();
  await (await open(webhook("ops", { url: receiver.url() }))).send([change(1)], never);
  assert.equal(receiver.received[0]?.headers["webhook-signature"], undefined);
  assert.ok(receiver.received[0]?.headers["webhook-id"]);
});

test("what an answer says decides whether it is tried again, and when", async () => {
  await using receiver = await Receiver.start();
  const sender = await open(webhook("ops", { url: receiver.url(), timeout: "300ms" }));
  const later = { "retry-after": "7" };
  const date = { "retry-after": new Date(NOW + 90_000).toUTCString() };
  const cases: [Answer, DeliveryFailure["verdict"], RegExp, number?][] = [
    [status(400, "bad\n  json"), "refused", /^it answered 400: bad json$/],
    [status(401), "refused", /^it answered 401$/],
    [status(404), "refused", /404/],
    [status(410, "gone"), "refused", /410: gone/],
    [status(422), "refused", /422/],
    [status(408), "failed", /408/],
    [status(425), "failed", /425/],
    [status(500), "failed", /500/],
    [
      status(301, "", { location: "http://127.0.0.1:1/elsewhere" }),
      "failed",
      /^it answered 301 \(redirects are not followed\)$/,
    ],
    [status(502), "down", /502/],
    [status(503, "", later), "down", /503/, 7000],
    [status(500, "", later), "down", /500/, 7000],
    [status(429, "", date), "down", /429/, 89_600],
    [status(429, "", { "retry-after": "soon" }), "down", /429/],
    [status(429, "", { "retry-after": "99999999" }), "down", /429/, 86_400_000],
    [(_, response) => response.socket?.destroy(), "down", /closed|reset/],
    [
      (_, response) =>
        response.writeHead(400, { "content-length": "100" }).write("half an ans") &&
        setTimeout(() => response.socket?.destroy(), 20),
      "down",
      /./,
    ],
    [() => undefined, "down", /^no answer within 300 ms$/],
    [(_, response) => void response.writeHead(500).flushHeaders(), "down", /^no answer within 300 ms$/],
  ];
  for (const [answer, verdict, reason, retryAfterMs] of cases) {
    receiver.answers.push(answer);
    const failed = await failure(sender);
    assert.equal(failed.verdict, verdict, failed.message);
    assert.match(failed.message, reason);
    assert.equal(failed.retryAfterMs, retryAfterMs, failed.message);
  }
  assert.equal(receiver.received.length, cases.length, "a redirect was followed");
});

test("an answer that goes on for ever is read no further than its beginning", async () => {
  await using receiver = await Receiver.start();
  let written = 0;
  receiver.answers.push((_, response) => {
    response.writeHead(400);
    const timer = setInterval(() => {
      written += 8192;
      response.write("x".repeat(8192));
    }, 1);
    response.on("close", () => clearInterval(timer));
  });
  const failed = await failure(await open(webhook("ops", { url: receiver.url(), timeout: "60s" })));
  assert.match(failed.message, /^it answered 400: x{200}…$/);
  assert.ok(written < 8_000_000);
});

test("success counts from its status on, whatever becomes of the rest of the answer", async () => {
  await using receiver = await Receiver.start();
  receiver.answers.push((_, response) => void response.writeHead(200).write("and so on"));
  await (await open(webhook("ops", { url: receiver.url(), timeout: "5s" }))).send([change(1)], never);
});

test("who is not there is down, and the reason names it", async () => {
  const server = createServer((socket) => socket.end("this is not HTTP\r\n\r\n", () => socket.destroy())).listen(
    0,
    "127.0.0.1",
  );
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const sender = await open(webhook("ops", { url: `http://127.0.0.1:${port}/` }));
  assert.equal((await failure(sender)).verdict, "down");
  server.close();
  await once(server, "close");
  const failed = await failure(sender);
  assert.deepEqual([failed.verdict, /ECONNREFUSED/.test(failed.message)], ["down", true]);
  assert.match(
    (await failure(await open(webhook("ops", { url: "http://nowhere.invalid/" })))).message,
    /nowhere\.invalid/,
  );
});

test("what the other side says back hides what is secret", async () => {
  await using receiver = await Receiver.start();
  receiver.otherwise = ({ headers, path }, response) =>
    void response.writeHead(400).end(`${headers["x-key"]} ${path} ${headers.authorization} key=abcdefgh1`);
  const options = {
    url: receiver.url("/services/T000/B000/abcdefgh1?token=long-enough"),
    headers: { "x-key": "the key itself" },
  };
  assert.doesNotMatch((await failure(await open(webhook("ops", options)))).message, /the key itself|T000|long-enough/);
  const duty = await open(opsgenie("duty", { url: receiver.url(), apiKey: env("GENIE") }), { GENIE: "1234-5678" });
  const { message } = await failure(duty);
  assert.match(message, /GenieKey \*{8}/);
});

test("what the environment does not hold, or not as it must be, is told by its variable at the start", async () => {
  const unset = {
    code: "DESTINATION_UNSET",
    message: 'pagerduty "duty" needs the environment variable KEY, which is not set',
  };
  await assert.rejects(open(pagerduty("duty", { routingKey: env("KEY") })), unset);
  await assert.rejects(open(pagerduty("duty", { routingKey: env("KEY") }), { KEY: "" }), unset);
  const wrong = (name: string, value: string) =>
    assert.rejects(
      open(webhook("ops", { url: env("URL"), secret: env("SECRET"), headers: { a: env("HEADER") } }), {
        ...{ URL: "https://example.com/", SECRET: "sixteen letters!", HEADER: "fine" },
        [name]: value,
      }),
      (error: Error) => error.message.includes(`variable ${name}, which is not `) && !error.message.includes(value),
    );
  await wrong("URL", "ftp://secret-host/");
  await wrong("SECRET", "too-short");
  await wrong("HEADER", "two\nlines");
});

test("Slack gets blocks within its limits, with its own characters escaped", async () => {
  await using receiver = await Receiver.start();
  const sender = await open(slack("team", { url: receiver.url("/services/T/B/x") }));
  const wild = change(2, {
    summary: `${"<&>".repeat(2000)}`,
    name: "n".repeat(400),
    key: "`<!channel>`".repeat(200),
    state: "resolved",
  });
  await sender.send([change(1), wild, change(3, { state: "acknowledged", severity: "info", key: "" })], never);
  const { text, blocks } = receiver.received[0]?.body ?? {};
  assert.match(text, /^Firing: overheat: engine_temp is 131, above 120 \(and 2 more\)$/);
  assert.equal(blocks.length, 9);
  assert.doesNotMatch(JSON.stringify(blocks), /<!channel>/);
  const full = slackMessage(Array.from({ length: sender.mostChanges }, () => wild));
  assert.ok(full.blocks.length <= 50 && full.text.length <= 40_000);
  for (const block of full.blocks as Record<string, unknown>[]) {
    const {
      type,
      text: inner,
      elements,
    } = block as { type: string; text?: { type: string; text: string }; elements?: { text: string }[] };
    if (type === "header") assert.ok(inner?.type === "plain_text" && inner.text.length <= 150);
    else if (type === "section")
      assert.ok(inner!.text.length > 0 && inner!.text.length <= 3000, String(inner!.text.length));
    else
      assert.ok(
        type === "context" &&
          elements!.length <= 10 &&
          elements!.every(({ text: one }) => one.length > 0 && one.length <= 2000),
      );
  }
});

test("PagerDuty gets a trigger, an acknowledgement and a resolution of one dedup_key", async () => {
  await using receiver = await Receiver.start();
  receiver.otherwise = status(202, '{"status":"success","message":"Event processed","dedup_key":"x"}');
  const sender = await open(pagerduty("duty", { routingKey: env("KEY"), url: receiver.url("/v2/enqueue") }), {
    KEY: "R".repeat(32),
  });
  for (const state of ["firing", "acknowledged", "resolved"]) await sender.send([change(1, { state })], never);
  const [trigger, ...others] = receiver.received.map(({ body }) => body);
  assert.equal(receiver.received[0]?.path, "/v2/enqueue");
  assert.deepEqual(trigger, {
    ...{
      routing_key: "R".repeat(32),
      event_action: "trigger",
      dedup_key: "alert/overheat/truck-7/0-1",
      client: "Millrace",
    },
    payload: {
      ...{
        summary: "engine_temp is 131, above 120",
        source: "truck-7",
        severity: "critical",
        timestamp: "2026-03-01T10:00:00.000Z",
      },
      ...{ component: "overheat", group: "alert", class: "overheat" },
      custom_details: { alert_id: "alert/overheat/truck-7/0-1", key: "truck-7", details: { value: 131, bound: 120 } },
    },
  });
  assert.deepEqual(
    others,
    ["acknowledge", "resolve"].map((event_action) => ({
      ...{ routing_key: "R".repeat(32), event_action, dedup_key: "alert/overheat/truck-7/0-1" },
    })),
  );
});

test("PagerDuty's limits hold for alerts of any size, and long ids stay apart", () => {
  const long = (end: string) =>
    change(1, {
      key: "k".repeat(5000),
      alert_id: `${"k".repeat(5000)}${end}`,
      summary: "s".repeat(5000),
      details: "d".repeat(2_000_000),
    });
  const { dedup_key, payload } = pagerdutyEvent(long("1")) as { dedup_key: string; payload: Record<string, string> };
  assert.ok(dedup_key.length <= 255 && payload["summary"]!.length <= 1024 && payload["source"]!.length <= 1024);
  assert.notEqual(dedup_key, pagerdutyEvent(long("2"))["dedup_key"]);
  assert.ok(JSON.stringify(payload).length < 512_000);
  const empty = pagerdutyEvent(change(1, { key: "", summary: "" })) as { payload: Record<string, string> };
  assert.deepEqual([empty.payload["summary"], empty.payload["source"]], ["overheat", "overheat"]);
});

test("Opsgenie gets a creation, an acknowledgement and a closing of one alias", async () => {
  await using receiver = await Receiver.start();
  receiver.otherwise = status(202, '{"result":"Request will be processed","took":0.3,"requestId":"x"}');
  const sender = await open(opsgenie("duty", { apiKey: "key-of-opsgenie", url: receiver.url() }));
  for (const state of ["firing", "acknowledged", "resolved"]) await sender.send([change(1, { state })], never);
  const alias = encodeURIComponent("alert/overheat/truck-7/0-1");
  assert.deepEqual(
    receiver.received.map(({ method, path, headers }) => [method, path, headers.authorization]),
    ["", `/${alias}/acknowledge?identifierType=alias`, `/${alias}/close?identifierType=alias`].map((path) => [
      "POST",
      `/v2/alerts${path}`,
      "GenieKey key-of-opsgenie",
    ]),
  );
  const [created, acknowledged] = receiver.received.map(({ body }) => body);
  assert.deepEqual(created, {
    ...{
      message: "engine_temp is 131, above 120",
      alias: "alert/overheat/truck-7/0-1",
      description: "engine_temp is 131, above 120",
    },
    ...{ entity: "truck-7", source: "Millrace", priority: "P1", tags: ["alert", "overheat", "critical"] },
    details: {
      ...{ kind: "alert", name: "overheat", severity: "critical", at: "2026-03-01T10:00:00.000Z" },
      ...{ alert_id: "alert/overheat/truck-7/0-1", key: "truck-7", details: '{"value":131,"bound":120}' },
    },
  });
  assert.equal(acknowledged.source, "Millrace");
});

test("Opsgenie's limits hold for alerts of any size", () => {
  const { body } = opsgenieRequest(
    change(1, {
      key: "k".repeat(5000),
      alert_id: "i".repeat(5000),
      name: "n".repeat(100),
      summary: "s".repeat(20_000),
      details: "d".repeat(20_000),
    }),
  );
  const text = (name: string) => String(body[name]).length;
  assert.ok(text("message") <= 130 && text("alias") <= 512 && text("description") <= 15_000 && text("entity") <= 512);
  assert.ok((body["tags"] as string[]).every((tag) => tag.length <= 50));
  const details = body["details"] as Record<string, string>;
  assert.ok(Object.entries(details).every(([name, value]) => typeof value === "string" && name.length > 0));
  const size = Object.entries(details).flat().join("").length;
  assert.ok(size <= 8000 && size > 7000, String(size));
});

test("stopping ends a message under way without a word about the destination", async () => {
  await using receiver = await Receiver.start();
  receiver.otherwise = () => undefined;
  const sender = await open(webhook("ops", { url: receiver.url() }));
  const stop = new AbortController();
  const sending = sender.send([change(1)], stop.signal);
  await receiver.sent(1);
  stop.abort(new Error("stopping"));
  await assert.rejects(sending, { message: "stopping" });
  receiver.otherwise = taken;
});
