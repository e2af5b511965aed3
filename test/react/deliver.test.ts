import assert from "node:assert/strict";
import { test } from "node:test";
import { pagerduty, smtp } from "../../src/define/destinations.ts";
import type { Project } from "../../src/define/project.ts";
import { type Destination, readDestination } from "../../src/define/read-destination.ts";
import type { EventLog } from "../../src/log/event-log.ts";
import { ChangeReader } from "../../src/react/deliver/change-reader.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { openDelivery } from "./open-delivery.ts";
import { Receiver, status } from "./receiver.ts";

const ids = (receiver: Receiver) => receiver.received.map(({ body }) => body.data.event_id as string);
const NOTICES = "select b.payload::json ->> 'notice_id' from bronze.notices b order by _partition, _offset";

function only(...names: string[]): (project: Project) => Project {
  return (project) => ({
    ...project,
    destinations: new Map([...project.destinations].filter(([name]) => names.includes(name))),
  });
}

function withDestination(destination: Destination): (project: Project) => Project {
  const to = [destination.name];
  return (project) => ({
    ...project,
    destinations: new Map([[destination.name, destination]]),
    alertRoutes: [{ severities: undefined, kinds: undefined, names: undefined, to }],
  });
}

/** A log that dies with the nth append: the disk has it or has it not, and nobody hears of it. */
function dyingAt(nth: number, written: boolean): (log: EventLog) => EventLog {
  let appends = 0;
  return (log) =>
    new Proxy(log, {
      get(target, name) {
        if (name !== "append") return Reflect.get(target, name).bind(target);
        return async (...given: Parameters<EventLog["append"]>) => {
          appends += 1;
          if (appends > nth || (appends === nth && !written)) return Promise.withResolvers().promise;
          const answer = await target.append(...given);
          return appends >= nth ? Promise.withResolvers().promise : answer;
        };
      },
    });
}

test("wherever the platform dies, a stream has each change once and in order, and a webhook each at least once", async () => {
  for (const [nth, written] of [
    [1, false],
    [1, true],
    [2, true],
    [3, false],
    [4, true],
    [5, true],
    [6, true],
  ] as const) {
    await using dir = await temporaryFolder();
    await using receiver = await Receiver.start();
    const env = { OPS_URL: receiver.url() };
    {
      await using first = await openDelivery(dir.path, { env, partitions: 3 });
      first.delivery.begin();
      await first.fire(["a", "b"]);
      await first.until("delivered", 4);
      await first.close();
    }
    const dying = await openDelivery(dir.path, { env, log: dyingAt(nth, written), partitions: 3 });
    dying.delivery.begin();
    await dying.fire(["b", "c"]);
    await dying.fire(["c"]);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await dying.crash();
    await using last = await openDelivery(dir.path, { env, partitions: 3 });
    last.delivery.begin();
    await last.until("delivered", 10);
    const expected = (
      await last.rows("select event_id from system.alert_events order by _offset", "system.alert_events")
    ).flat();
    assert.equal(expected.length, 5);
    const notices = (await last.rows(NOTICES, "bronze.notices")).flat() as string[];
    assert.deepEqual(notices.toSorted(), expected.toSorted(), `died at ${nth}, ${written}`);
    const ofKey = (list: unknown[], key: string) => list.filter((id) => String(id).startsWith(`test/trouble/${key}/`));
    for (const key of ["a", "b", "c"]) assert.deepEqual(ofKey(notices, key), ofKey(expected, key));
    assert.deepEqual([...new Set(ids(receiver))].toSorted(), expected.toSorted());
    for (const key of ["a", "b", "c"]) assert.deepEqual([...new Set(ofKey(ids(receiver), key))], ofKey(expected, key));
  }
});

test("what a destination refuses is a dead letter with its reason, and can be retried until it is taken, and discarded", async () => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  receiver.otherwise = status(400, "no such channel");
  await using open = await openDelivery(dir.path, {
    env: { OPS_URL: receiver.url("/secret-path") },
    project: only("ops"),
  });
  open.delivery.begin();
  await open.fire(["a", "b"]);
  await open.until("dead", 2);
  const desk = open.flow.deadLetterDesk;
  const { deadLetters: letters } = await desk.list({ stage: "deliver" }, { limit: 10 });
  assert.deepEqual(
    letters.map(({ id, code, message, status: state }) => [id, code, message, state]),
    [1, 0].map((offset) => [
      `deliver/ops/${offset}`,
      "DELIVERY_REFUSED",
      'webhook "ops" refused the message: it answered 400: no such channel',
      "open",
    ]),
  );
  const request = { actor: "lea", admit: open.admit };
  const [failed] = await desk.retry({ ids: ["deliver/ops/0"] }, request);
  assert.deepEqual([failed?.outcome, failed?.code], ["failed", "DELIVERY_REFUSED"]);
  receiver.otherwise = status(503);
  const away = await desk.retry({ filter: { stage: "deliver" } }, request);
  assert.deepEqual(
    away.map(({ outcome, code }) => [outcome, code]),
    [
      ["failed", "DELIVERY_FAILED"],
      ["failed", "DELIVERY_FAILED"],
    ],
  );
  assert.equal(receiver.received.length, 4, "one attempt stands for all");
  receiver.otherwise = status(200);
  const results = await desk.retry({ filter: { stage: "deliver", code: "DELIVERY_REFUSED" } }, request);
  assert.deepEqual(
    results.map(({ outcome }) => outcome),
    ["stored", "stored"],
  );
  await open.until("delivered", 2);
  assert.equal(receiver.received.length, 6);
  const { letter } = await desk.show("deliver/ops/0");
  assert.deepEqual([letter.status, letter.attempts, letter.actor], ["retried", 4, "lea"]);
  await assert.rejects(desk.retry({ ids: ["deliver/ops/0"] }, { ...request, payload: Buffer.from("{}") }), {
    code: "DEAD_LETTER_SETTLED",
  });
  receiver.otherwise = status(410);
  await open.fire(["a"]);
  await open.until("dead", 1);
  await assert.rejects(desk.retry({ ids: ["deliver/ops/2"] }, { ...request, payload: Buffer.from("{}") }), {
    code: "DEAD_LETTER_PAYLOAD",
  });
  assert.equal(await desk.discard({ ids: ["deliver/ops/2"] }, { reason: "seen", actor: "lea" }), 1);
  const stored = JSON.stringify(await open.rows("select * from system.dead_letters", "system.dead_letters"));
  assert.doesNotMatch(stored, /secret-path|sixteen letters/);
});

test("an alert that is over is not opened again by the retry of its beginning", async () => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  const duty = readDestination(
    pagerduty("duty", { routingKey: "key-of-duty", url: receiver.url() }),
    "ops.ts",
  ) as Destination;
  receiver.answers.push(status(400));
  await using open = await openDelivery(dir.path, { project: withDestination(duty) });
  open.delivery.begin();
  await open.fire(["a"]);
  await open.until("dead", 1);
  await open.fire([]);
  await open.until("delivered", 1);
  const [result] = await open.flow.deadLetterDesk.retry(
    { ids: ["deliver/duty/0"] },
    { actor: "lea", admit: open.admit },
  );
  assert.equal(result?.outcome, "stored");
  assert.deepEqual(
    receiver.received.map(({ body }) => body.event_action),
    ["trigger", "resolve"],
  );
  await open.until("superseded", 1);
});

test("a change that a stream does not take is a dead letter, and is there once when the retry is interrupted", async () => {
  await using dir = await temporaryFolder();
  const broken =
    (event: () => Record<string, unknown>) =>
    (project: Project): Project => {
      const log = { ...project.destinations.get("log")!, event } as Destination;
      return { ...project, destinations: new Map([["log", log]]) };
    };
  {
    await using open = await openDelivery(dir.path, { project: broken(() => ({ notice_id: 1 })) });
    open.delivery.begin();
    await open.fire(["a"]);
    await open.until("dead", 1);
    const [letter] = (await open.flow.deadLetterDesk.list({ stage: "deliver" }, { limit: 10 })).deadLetters;
    assert.match(String(letter?.message), /^toStream "log" refused the message: EVENT_INVALID: .* must be there/);
  }
  {
    await using open = await openDelivery(dir.path, { project: broken(() => assert.fail("it throws")) });
    const [failed] = await open.flow.deadLetterDesk.retry(
      { ids: ["deliver/log/0"] },
      { actor: "lea", admit: open.admit },
    );
    assert.match(String(failed?.message), /its function failed: it throws/);
  }
  const fine = broken(() => ({ notice_id: "n", alert: "a", text: "t", state: "s" }));
  const retry = async (open: Awaited<ReturnType<typeof openDelivery>>) =>
    open.flow.deadLetterDesk.retry({ ids: ["deliver/log/0"] }, { actor: "lea", admit: open.admit });
  // Dies when the event is in the stream and nothing else is.
  const dying = await openDelivery(dir.path, { project: fine, log: dyingAt(1, true) });
  void retry(dying).catch(() => undefined);
  for (let tries = 0; tries < 200 && dying.log.ends("notices", 0).end === 0; tries++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  await dying.crash();
  await using open = await openDelivery(dir.path, { project: fine });
  assert.deepEqual(
    (await retry(open)).map(({ outcome }) => outcome),
    ["stored"],
  );
  assert.equal(open.log.ends("notices", 0).end, 1);
});

test("a change that is in the log twice is told once", async () => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  const env = { OPS_URL: receiver.url() };
  const twice = async (open: Awaited<ReturnType<typeof openDelivery>>) => {
    const run = await open.log.read("_alerts", 0, 0, 1 << 20);
    await open.log.append("_alerts", 0, { payload: run!.bytes, count: run!.to + 1, source: "platform" });
  };
  {
    await using open = await openDelivery(dir.path, { env });
    open.delivery.begin();
    await open.fire(["a"]);
    await twice(open);
    await open.fire(["a", "b"]);
    await open.until("delivered", 4);
  }
  await using open = await openDelivery(dir.path, { env });
  await twice(open);
  open.delivery.begin();
  await open.fire(["a", "b", "c"]);
  await open.until("delivered", 6);
  assert.deepEqual(
    ids(receiver),
    ["a", "b", "c"].map((key) => `test/trouble/${key}/0/firing`),
  );
  assert.equal(open.log.ends("notices", 0).end, 3);
});

test("a silenced alert is not told, and that is on record", async () => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  await using open = await openDelivery(dir.path, {
    env: { OPS_URL: receiver.url() },
    shouldDeliver(change, destination) {
      if (change.key === "odd") throw new Error("cannot tell");
      return !(change.key === "quiet" && destination === "ops");
    },
  });
  open.delivery.begin();
  await open.fire(["quiet", "loud", "odd"]);
  await open.until("delivered", 5);
  assert.deepEqual(
    await open.rows("select id, status from system.deliveries where status <> 'delivered'", "system.deliveries"),
    [["ops/0", "silenced"]],
  );
  assert.deepEqual(
    receiver.received.map(({ body }) => body.data.key),
    ["loud", "odd"],
  );
  assert.match(String(open.reported), /cannot tell/);
});

test("a destination that is new begins with what is new; what was left for one that is gone is a dead letter", async () => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  {
    await using open = await openDelivery(dir.path, { project: only("log") });
    open.delivery.begin();
    await open.fire(["before"]);
    await open.until("delivered", 1);
  }
  {
    await using open = await openDelivery(dir.path);
    open.delivery.begin();
    await open.fire(["before", "lost"]);
    await open.until("retrying", 1);
  }
  {
    await using open = await openDelivery(dir.path, { project: only("log") });
    open.delivery.begin();
    await open.until("dead", 1);
    await open.fire(["before", "lost", "meanwhile"]);
    await open.until("delivered", 3);
    const [letter] = (await open.flow.deadLetterDesk.list({ stage: "deliver" }, { limit: 10 })).deadLetters;
    assert.deepEqual([letter?.id, letter?.code], ["deliver/ops/1", "DESTINATION_UNKNOWN"]);
  }
  {
    await using open = await openDelivery(dir.path, { project: only("log") });
    open.delivery.begin();
    await open.until("delivered", 3);
  }
  await using open = await openDelivery(dir.path, { env: { OPS_URL: receiver.url() } });
  open.delivery.begin();
  await open.fire(["before", "lost", "meanwhile", "after"]);
  await open.until("delivered", 5);
  assert.deepEqual(
    receiver.received.map(({ body }) => body.data.key),
    ["after"],
  );
  const results = await open.flow.deadLetterDesk.retry(
    { filter: { stage: "deliver" } },
    { actor: "lea", admit: open.admit },
  );
  assert.deepEqual(
    results.map(({ outcome }) => outcome),
    ["stored"],
  );
  assert.deepEqual(
    receiver.received.map(({ body }) => body.data.key),
    ["after", "lost"],
  );
});

test("what went on being tried before a restart goes on after it, and positions that nothing was delivered at are kept", async () => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  let nowMs = Date.now();
  const clock = () => nowMs;
  {
    await using open = await openDelivery(dir.path, { clock, project: only("ops") });
    open.delivery.begin();
    await open.fire(["a"]);
    await open.until("retrying", 1);
  }
  nowMs += 3_600_000;
  await using open = await openDelivery(dir.path, { clock, project: only("ops"), env: { OPS_URL: receiver.url() } });
  open.delivery.begin();
  await open.until("delivered", 1);
  const [delivery] = (await open.flow.deliveries.list({ destination: "ops" }, { limit: 10 })).deliveries;
  assert.deepEqual([delivery?.id, delivery?.status, delivery?.nextAt], ["ops/0", "delivered", null]);
  assert.ok(Number(delivery?.attempts) >= 2);
  assert.match(String(delivery?.lastMessage), /^webhook "ops" did not take the message: /);
  const [view] = open.delivery.destinations();
  assert.deepEqual([view?.name, view?.status, view?.waiting, view?.delivered], ["ops", "up", 0, 1]);
  assert.equal(view?.address, `http://127.0.0.1:${receiver.port}`);
});

test("where nothing can be recorded any more the stop goes on, and the next life tells what is not on record", async (t) => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  const options = { env: { OPS_URL: receiver.url() }, project: only("ops") };
  {
    await using open = await openDelivery(dir.path, options);
    open.delivery.begin();
    await open.fire(["a"]);
    await open.until("delivered", 1);
    t.mock.method(open.flow.deliveries, "append", async (events: readonly unknown[]) => {
      if (events.length > 0) throw new Error("the log is away");
    });
    await open.fire(["a", "b"]);
    await receiver.sent(2);
    await open.delivery.close();
    assert.match(String(open.reported), /the log is away/);
  }
  await using open = await openDelivery(dir.path, options);
  open.delivery.begin();
  await open.until("delivered", 2);
  assert.deepEqual(
    ids(receiver),
    ["a", "b", "b"].map((key) => `test/trouble/${key}/0/firing`),
  );
});

test("a destination that takes a retry or a test is up, though nothing else is to be delivered", async () => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  await using open = await openDelivery(dir.path, { env: { OPS_URL: receiver.url() }, project: only("ops") });
  const status400 = status(400);
  const stands = () => open.delivery.destinations()[0]?.status;
  open.delivery.begin();
  receiver.otherwise = status400;
  await open.fire(["a"]);
  await open.until("dead", 1);
  assert.equal(stands(), "failing");
  receiver.otherwise = status(200);
  await open.flow.deadLetterDesk.retry({ ids: ["deliver/ops/0"] }, { actor: "lea", admit: open.admit });
  assert.equal(stands(), "up");
  receiver.otherwise = status400;
  await open.fire(["a", "b"]);
  await open.until("dead", 1);
  assert.equal(stands(), "failing");
  receiver.otherwise = status(200);
  await open.delivery.test("ops", () => "");
  assert.equal(stands(), "up");
});

test("a stream that could not be looked through at first is up once it could", async () => {
  await using dir = await temporaryFolder();
  let away = true;
  await using open = await openDelivery(dir.path, {
    project: only("log"),
    log: (log) =>
      new Proxy(log, {
        get(target, name) {
          if (name !== "refresh") return Reflect.get(target, name).bind(target);
          return async (...given: Parameters<EventLog["refresh"]>) => {
            if (away) throw new Error("the log is away");
            return target.refresh(...given);
          };
        },
      }),
  });
  const until = async (state: string) => {
    for (let tries = 0; tries < 250 && open.delivery.destinations()[0]?.status !== state; tries++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(open.delivery.destinations()[0]?.status, state);
  };
  open.delivery.begin();
  await until("failing");
  away = false;
  await until("up");
});

test("deliveries are listed page by page, by destination, alert and status", async () => {
  await using dir = await temporaryFolder();
  await using receiver = await Receiver.start();
  await using open = await openDelivery(dir.path, { env: { OPS_URL: receiver.url() } });
  open.delivery.begin();
  await open.fire(["a", "b", "c"]);
  await open.until("delivered", 6);
  const { deliveries } = open.flow;
  const first = await deliveries.list({}, { limit: 2 });
  assert.deepEqual([first.deliveries.map(({ id }) => id), first.next], [["log/2", "ops/2", "log/1", "ops/1"], 1]);
  const rest = await deliveries.list({}, { limit: 2, before: first.next });
  assert.deepEqual([rest.deliveries.map(({ id }) => id), rest.next], [["log/0", "ops/0"], undefined]);
  const of = async (filter: object) => (await deliveries.list(filter, { limit: 10 })).deliveries.map(({ id }) => id);
  assert.deepEqual(await of({ destination: "ops", alert: "test/trouble/b/0" }), ["ops/1"]);
  assert.deepEqual(await of({ status: "dead" }), []);
});

test("changes that the log has let go are read from their table, as they were", async () => {
  await using dir = await temporaryFolder();
  await using open = await openDelivery(dir.path, { project: only() });
  await open.fire(["a", "b", "c"]);
  const parts = {
    log: open.log,
    stream: "_alerts",
    records: open.flow.deliveries,
    seen: new Map<string, number>(),
    report: () => undefined,
  };
  const signal = new AbortController().signal;
  const fromLog = (await new ChangeReader(parts).next(0, signal))?.changes;
  const gone = new Proxy(open.log, {
    get: (target, name) => (name === "ends" ? () => ({ start: 2, end: 3 }) : Reflect.get(target, name).bind(target)),
  });
  const reader = new ChangeReader({ ...parts, log: gone });
  const first = await reader.next(0, signal);
  assert.deepEqual([first?.changes, first?.next], [fromLog?.slice(0, 2), 2]);
  assert.deepEqual((await reader.next(2, signal))?.changes, fromLog?.slice(2));
  assert.equal((await reader.at(1))?.key, "b");
});

test("a mail server that is tested and is not there is told as it is; a test of a stream is an event in it", async () => {
  await using dir = await temporaryFolder();
  const mail = smtp("mail", { host: "127.0.0.1", port: 1, from: "a@b.c", to: "d@e.f" });
  const read = readDestination(mail, "ops.ts") as Destination;
  const nearest = () => "";
  {
    await using open = await openDelivery(dir.path, { project: withDestination(read) });
    await assert.rejects(open.delivery.test("mail", nearest), {
      code: "DELIVERY_FAILED",
      message: /^smtp "mail" did not take the message: .*ECONNREFUSED/,
    });
    await assert.rejects(
      open.delivery.test("male", (name) => ` near ${name}`),
      { code: "DESTINATION_UNKNOWN", message: 'there is no destination "male" near male' },
    );
  }
  await using open = await openDelivery(dir.path, { project: only("log") });
  await open.delivery.test("log", nearest);
  assert.deepEqual(await open.rows("select text, state from notices", "notices"), [
    ["This is a test of the destination. Nothing is wrong.", "firing"],
  ]);
});
