import assert from "node:assert/strict";
import { test } from "node:test";
import { Courier, type CourierParts, type Known } from "../../src/react/deliver/courier.ts";
import { type Change, DeliveryFailure, type Sender } from "../../src/react/deliver/sender.ts";
import { change } from "./changes.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A courier whose clock the test moves, and the other side as the test says. */
class Round {
  nowMs = Date.parse("2026-03-01T10:00:00Z");
  readonly taken: string[] = [];
  readonly attempts: { readonly atMs: number; readonly ids: readonly string[] }[] = [];
  readonly known: Known[] = [];
  readonly reported: unknown[] = [];
  answer: (changes: readonly Change[]) => void | Promise<void> = () => undefined;
  recording: () => void = () => undefined;
  readonly courier: Courier;

  constructor(given: Partial<CourierParts> & { readonly mostChanges?: number } = {}) {
    const sender: Sender = {
      address: "test",
      mostChanges: given.mostChanges ?? 1,
      send: async (changes) => {
        const ids = changes.map(name);
        this.attempts.push({ atMs: this.nowMs, ids });
        await this.answer(changes);
        this.taken.push(...ids);
      },
    };
    this.courier = new Courier({
      ...{
        named: 'webhook "ops"',
        sender,
        giveUpAfterMs: 24 * HOUR,
        rate: undefined,
        clock: () => this.nowMs,
        random: () => 0.5,
      },
      record: async (known) => {
        this.recording();
        this.known.push(...known);
      },
      report: (error) => this.reported.push(error),
      ...given,
    });
  }

  async offer(...changes: Change[]): Promise<void> {
    this.courier.offer(changes, () => undefined);
    await this.settled();
  }

  /** Everything that begins by itself has happened. */
  async settled(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  async pass(ms: number, stepMs = 1000): Promise<void> {
    for (const end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs = Math.min(this.nowMs + stepMs, end);
      this.courier.pump();
      await this.settled();
    }
  }

  outcomes(): string[] {
    return this.known.map(({ change: one, outcome, attempt }) => `${name(one)} ${outcome} ${attempt ?? ""}`.trim());
  }
}

const name = ({ key, state }: Change) => `${key}/${state}`;
/** Alert `key` begins at `offset`, and ends at `offset + 1`. */
const begins = (offset: number, key: string) => change(offset, { key, alert_id: key });
const ends = (offset: number, key: string) => change(offset, { key, alert_id: key, state: "resolved" });
const down = new DeliveryFailure("down", "connection refused");

test("a destination that is down for an hour loses nothing, keeps the order of each alert, and is asked now and then", async () => {
  const round = new Round();
  round.answer = () => {
    throw down;
  };
  await round.offer(begins(0, "a"), begins(1, "b"));
  await round.pass(30 * MINUTE);
  await round.offer(ends(2, "a"), begins(3, "c"), ends(4, "c"), ends(5, "b"));
  await round.pass(30 * MINUTE);
  assert.ok(round.attempts.length > 30 && round.attempts.length < 120, String(round.attempts.length));
  assert.equal(round.taken.length, 0);
  assert.equal(round.courier.low(6), 0);
  assert.equal(round.courier.figures().waiting, 6);
  round.answer = () => undefined;
  await round.pass(MINUTE);
  for (const key of ["a", "b", "c"])
    assert.deepEqual(
      round.taken.filter((one) => one.startsWith(key)),
      [`${key}/firing`, `${key}/resolved`],
    );
  assert.deepEqual([round.taken.length, round.courier.low(6), round.courier.figures().waiting], [6, 6, 0]);
});

test("an end waits for its beginning, while other alerts do not", async () => {
  const round = new Round();
  round.answer = ([one]) => {
    if (name(one!) === "a/firing") throw new DeliveryFailure("failed", "it answered 500");
  };
  await round.offer(begins(0, "a"), ends(1, "a"), begins(2, "b"), ends(3, "b"));
  assert.deepEqual(round.taken, ["b/firing", "b/resolved"]);
  round.answer = () => undefined;
  await round.pass(2000);
  assert.deepEqual(round.taken, ["b/firing", "b/resolved", "a/firing", "a/resolved"]);
  assert.deepEqual(
    round.outcomes().filter((one) => one.startsWith("a/firing")),
    ["a/firing pending", "a/firing failed 1", "a/firing delivered 2"],
  );
});

test("waits become longer and are spread, up to five minutes", async () => {
  for (const [random, spread] of [
    [() => 0, 0.5],
    [() => 1, 1],
  ] as const) {
    const round = new Round({ random });
    round.answer = () => {
      throw new DeliveryFailure("failed", "it answered 500");
    };
    await round.offer(begins(0, "a"));
    await round.pass(HOUR, 500);
    const waits = round.attempts.slice(1).map(({ atMs }, i) => atMs - round.attempts[i]!.atMs);
    const expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map((seconds) => seconds * 1000 * spread);
    assert.deepEqual(waits.slice(0, expected.length), expected);
  }
});

test("what is refused is given up at once, what is too old after its last attempt, and neither holds up what follows", async () => {
  const round = new Round({ giveUpAfterMs: HOUR });
  round.answer = ([one]) => {
    if (name(one!) === "a/firing") throw new DeliveryFailure("refused", "it answered 400");
    if (name(one!) === "b/firing") throw new DeliveryFailure("failed", "it answered 500");
  };
  await round.offer(begins(0, "a"), ends(1, "a"), begins(2, "b"), ends(3, "b"));
  assert.deepEqual(round.taken, ["a/resolved"]);
  await round.pass(59 * MINUTE);
  assert.deepEqual(round.taken, ["a/resolved"]);
  await round.pass(10 * MINUTE);
  assert.deepEqual(round.taken, ["a/resolved", "b/resolved"]);
  const dead = round.known.filter(({ outcome }) => outcome === "dead").map(({ code, message }) => [code, message]);
  assert.equal(dead.length, 2);
  assert.deepEqual(dead[0], ["DELIVERY_REFUSED", 'webhook "ops" refused the message: it answered 400']);
  assert.equal(dead[1]?.[0], "DELIVERY_GAVE_UP");
  assert.match(String(dead[1]?.[1]), /^webhook "ops" has not taken the message for 3\d{3} s: it answered 500$/);
});

test("a destination that stays down gives up all that has waited for too long, and nothing younger", async () => {
  const round = new Round({ giveUpAfterMs: HOUR });
  round.answer = () => {
    throw down;
  };
  await round.offer(...Array.from({ length: 50 }, (_, i) => begins(i, `old-${i}`)));
  await round.pass(40 * MINUTE);
  await round.offer(begins(50, "young"));
  await round.pass(25 * MINUTE);
  assert.equal(round.known.filter(({ outcome }) => outcome === "dead").length, 50);
  assert.deepEqual([round.courier.figures().waiting, round.courier.low(51)], [1, 50]);
});

test("what was tried in an earlier life goes on with its attempts and its age", async () => {
  const round = new Round({ giveUpAfterMs: HOUR });
  round.answer = () => {
    throw new DeliveryFailure("failed", "it answered 500");
  };
  const sinceMs = round.nowMs - 2 * HOUR;
  round.courier.offer([begins(0, "a")], () => ({ attempts: 7, sinceMs, nextAtMs: round.nowMs + MINUTE }));
  await round.settled();
  assert.deepEqual(round.attempts, [], "it was tried before its time");
  await round.pass(MINUTE);
  // It is old, but not given up before it was tried in this life.
  assert.deepEqual(round.outcomes(), ["a/firing dead 8"]);
});

test("Retry-After keeps the destination alone for as long as it says", async () => {
  const round = new Round();
  round.answer = () => {
    throw new DeliveryFailure("down", "it answered 429", 10 * MINUTE);
  };
  await round.offer(begins(0, "a"), begins(1, "b"));
  const first = round.attempts.length;
  round.answer = () => undefined;
  await round.pass(10 * MINUTE - 1000);
  assert.equal(round.attempts.length, first);
  assert.ok(round.courier.figures().pausedUntilMs);
  await round.pass(1000);
  assert.equal(round.taken.length, 2);
});

test("a message that brings the other side down each time does not keep the others from it", async () => {
  const round = new Round();
  round.answer = ([one]) => {
    if (name(one!) === "poison/firing") throw new DeliveryFailure("down", "the connection was cut");
  };
  await round.offer(begins(0, "poison"), begins(1, "b"), begins(2, "c"));
  await round.pass(10_000);
  assert.deepEqual(round.taken.toSorted(), ["b/firing", "c/firing"]);
  await round.offer(begins(3, "d"));
  await round.pass(MINUTE);
  assert.ok(round.taken.includes("d/firing"));
});

test("a rate is kept", async () => {
  const round = new Round({ rate: { most: 3, perMs: MINUTE } });
  await round.offer(...Array.from({ length: 10 }, (_, i) => begins(i, `a${i}`)));
  assert.equal(round.taken.length, 3);
  await round.pass(MINUTE);
  assert.equal(round.taken.length, 6);
  await round.pass(3 * MINUTE);
  assert.equal(round.taken.length, 10);
});

test("what waits together goes together where a message takes more; one that is refused does not take the others with it", async () => {
  const round = new Round({ mostChanges: 5, rate: { most: 1, perMs: 1000 } });
  round.answer = (changes) => {
    if (changes.some(({ key }) => key === "bad")) throw new DeliveryFailure("refused", "it answered 400");
  };
  await round.offer(begins(0, "a"));
  await round.offer(begins(1, "b"), begins(2, "bad"), ends(3, "b"), begins(4, "c"), begins(5, "d"), begins(6, "e"));
  await round.pass(20_000);
  assert.deepEqual(
    round.attempts.slice(0, 2).map(({ ids }) => ids.length),
    [1, 5],
  );
  assert.deepEqual(round.taken.toSorted(), ["a/firing", "b/firing", "b/resolved", "c/firing", "d/firing", "e/firing"]);
  assert.ok(round.taken.indexOf("b/firing") < round.taken.indexOf("b/resolved"));
  assert.deepEqual(
    round.outcomes().filter((one) => one.includes("dead")),
    ["bad/firing dead 1"],
  );
});

test("no more messages are under way at once than four, and one where the destination is down", async () => {
  const round = new Round();
  const open: PromiseWithResolvers<void>[] = [];
  round.answer = () => {
    open.push(Promise.withResolvers());
    return open.at(-1)!.promise;
  };
  await round.offer(...Array.from({ length: 10 }, (_, i) => begins(i, `a${i}`)));
  assert.equal(open.length, 4);
  for (const { reject } of open.splice(0)) reject(down);
  await round.settled();
  await round.pass(1000);
  assert.equal(open.length, 1);
  open[0]!.resolve();
  await round.settled();
  assert.equal(open.length, 5);
  for (const { resolve } of open) resolve();
  await round.settled();
});

test("what the disk refuses to record is recorded later, and not sent again for it", async () => {
  const round = new Round();
  round.recording = () => {
    throw new Error("no space left");
  };
  await round.offer(begins(0, "a"), ends(1, "a"));
  assert.deepEqual([round.taken, round.known], [["a/firing", "a/resolved"], []]);
  assert.ok(round.reported.length > 0);
  round.recording = () => undefined;
  await round.pass(1000);
  assert.deepEqual(round.outcomes().toSorted(), [
    "a/firing delivered 1",
    "a/firing pending",
    "a/resolved delivered 1",
    "a/resolved pending",
  ]);
  assert.equal(round.attempts.length, 2);
});

test("what cannot be recorded at the stop is told of, and stays unsettled for whoever delivers next", async () => {
  const round = new Round();
  round.recording = () => {
    throw new Error("the log is away");
  };
  round.answer = ([one]) => {
    if (name(one!) === "b/firing") throw new DeliveryFailure("refused", "it answered 400");
  };
  await round.offer(begins(0, "a"), begins(1, "b"));
  const reports = round.reported.length;
  await round.courier.close(10);
  assert.ok(round.reported.length > reports);
  assert.deepEqual([round.known, round.courier.low(2), round.courier.recordedLow(2)], [[], 0, 0]);
});

test("it takes no more changes than it can hold, and stopping lets nobody wait", async () => {
  const round = new Round();
  round.answer = () => {
    throw down;
  };
  await round.offer(...Array.from({ length: 2000 }, (_, i) => begins(i, `a${i}`)));
  let room = false;
  const waiting = round.courier.room().then(() => {
    room = true;
  });
  await round.settled();
  assert.equal(room, false);
  round.answer = () => undefined;
  await round.pass(5000);
  assert.equal(room, true);
  await waiting;
  await round.courier.close(10);
  await round.courier.room();
});

test("a stop waits for what is under way and records it, but not for ever", async () => {
  const round = new Round();
  const first = Promise.withResolvers<void>();
  round.answer = () => first.promise;
  await round.offer(begins(0, "a"));
  const closing = round.courier.close(60_000);
  first.resolve();
  await closing;
  assert.deepEqual(round.outcomes(), ["a/firing pending", "a/firing delivered 1"]);
});
