/** A user's function as an operator, by itself: attempts, retries, timeouts, state, batches. Timers are those of the machine; no assertion depends on how long. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FunctionDefinition } from "../../src/define/on.ts";
import { on, stream, z } from "../../src/index.ts";
import { type FunctionPlan, functionKind } from "../../src/react/function-operator.ts";
import { LookupTable } from "../../src/react/lookups/lookup-table.ts";
import type { EventView, KeyedState, Operator } from "../../src/react/operator.ts";

const readings = stream("readings", {
  schema: z.object({ sensor: z.string().nullable(), value: z.number() }),
  key: "sensor",
});
const alerts = stream("alerts", { schema: z.object({ alert_id: z.string(), value: z.number() }), id: ["alert_id"] });
const RETRY = { attempts: 3, delay: "1ms" };

interface Outcome {
  readonly emitted: { readonly stream: string; readonly event: Readonly<Record<string, unknown>> }[];
  refused: { readonly code: string; readonly message: string } | undefined;
}

class TestLane {
  readonly state = new Map<string, unknown>();
  readonly operator: Operator;
  #offset = 0;

  constructor(definition: FunctionDefinition, plan: Partial<FunctionPlan> = {}) {
    const { batch } = definition.options;
    const defaults: FunctionPlan = {
      ...{ key: "sensor", ttlMs: undefined, timeoutMs: 10_000, logLevel: "error", features: [], lookups: {} },
      batch: batch && { size: batch.size, waitMs: 1 },
      targets: new Map([
        ["alerts", "alert_id"],
        ["plain", undefined],
      ]),
    };
    this.operator = functionKind.open({ ...defaults, ...plan }, definition, {
      ...{ stream: "readings", partition: 0, before: new Map(), lookup: (table) => new LookupTable(table) },
      state: <V>() => this.state as unknown as KeyedState<V>,
    });
  }

  event(value: Record<string, unknown>): EventView {
    return { value, partition: 0, offset: this.#offset++, receivedAtMs: 1000, source: "test" };
  }

  /** As a lane does: what an event that is refused has emitted counts for nothing. */
  async apply(value: Record<string, unknown>): Promise<Outcome> {
    const outcome: Outcome = { emitted: [], refused: undefined };
    await this.operator.apply(this.event(value), {
      emit: (name, event) => void outcome.emitted.push({ stream: name, event }),
      refuse: (code, message) => {
        outcome.refused ??= { code, message };
      },
    });
    return outcome.refused ? { emitted: [], refused: outcome.refused } : outcome;
  }
}

const named = (definition: FunctionDefinition): FunctionDefinition => ({ ...definition, name: "f" });

test("what is emitted gets ids of its cause, in the order in which it is emitted, unless it brings its own", async () => {
  const lane = new TestLane(
    named(
      on(readings, (event, ctx) => {
        ctx.emit("alerts", { value: event.value });
        ctx.emit(alerts, { alert_id: ctx.id, value: 2 });
        ctx.emit(alerts, { alert_id: "mine", value: 3 });
        ctx.emit("plain", { value: ctx.meta.offset, at: ctx.meta.receivedAt.getTime(), key: ctx.key });
      }),
    ),
  );
  await lane.apply({ sensor: "a", value: 0 });
  const { emitted } = await lane.apply({ sensor: "a", value: 1 });
  assert.deepEqual(emitted, [
    { stream: "alerts", event: { value: 1, alert_id: "f/readings/0-1/0" } },
    { stream: "alerts", event: { value: 2, alert_id: "f/readings/0-1/1" } },
    { stream: "alerts", event: { alert_id: "mine", value: 3 } },
    { stream: "plain", event: { value: 1, at: 1000, key: "a" } },
  ]);
});

test("a function that waits for nothing is done when apply returns, and gives no promise", () => {
  const lane = new TestLane(named(on(readings, () => undefined)));
  const given = lane.operator.apply(lane.event({ sensor: "a", value: 1 }), { emit: assert.fail, refuse: assert.fail });
  assert.equal(given, undefined);
});

test("an event that fails twice and then does not is handled once, with nothing of the failed attempts", async () => {
  const attempts: number[] = [];
  const lane = new TestLane(
    named(
      on(readings, { state: z.number(), retry: RETRY }, (_event, ctx) => {
        attempts.push(ctx.attempt);
        ctx.state.set((ctx.state.get() ?? 0) + 1);
        ctx.emit("plain", { attempt: ctx.attempt });
        if (ctx.attempt < 3) throw new Error("not yet");
      }),
    ),
  );
  const { emitted, refused } = await lane.apply({ sensor: "a", value: 1 });
  assert.equal(refused, undefined);
  assert.deepEqual(attempts, [1, 2, 3]);
  assert.deepEqual(emitted, [{ stream: "plain", event: { attempt: 3 } }]);
  assert.deepEqual([...lane.state], [["a", 1]]);
});

test("an event that always fails is refused after its attempts, with what was thrown, where, and nothing of it is kept", async () => {
  for (const wait of [false, true]) {
    let attempts = 0;
    const handler = (
      _: unknown,
      ctx: { state: { set(value: number): void }; emit(to: string, event: object): void },
    ) => {
      attempts++;
      ctx.state.set(7);
      ctx.emit("plain", {});
      const fail = () => {
        throw new TypeError("boom");
      };
      return wait ? Promise.resolve().then(fail) : fail();
    };
    const lane = new TestLane(named(on(readings, { state: z.number(), retry: RETRY }, handler as never)));
    const { emitted, refused } = await lane.apply({ sensor: "a", value: 1 });
    assert.equal(attempts, 3);
    assert.equal(refused?.code, "FUNCTION_FAILED");
    assert.match(
      refused?.message ?? "",
      /^the function "f" threw TypeError: boom at functions\.test\.ts:\d+ \(3 attempts\)$/,
    );
    assert.deepEqual(emitted, []);
    assert.equal(lane.state.size, 0);
  }
});

test("retry rules say which errors are tried again", async () => {
  let attempts = 0;
  const definition = on(readings, { retry: [{ on: "EBUSY", attempts: 5, delay: "1ms" }] }, (event) => {
    attempts++;
    throw Object.assign(new Error("no"), { code: event.value === 1 ? "EBUSY" : "EOTHER" });
  });
  const lane = new TestLane(named(definition));
  await lane.apply({ sensor: "a", value: 1 });
  assert.equal(attempts, 5);
  await lane.apply({ sensor: "a", value: 2 });
  assert.equal(attempts, 6);
});

test("a function that gives something is refused at once, whatever its retries", async () => {
  for (const given of [5, "done", {}, Promise.resolve(true)]) {
    let attempts = 0;
    const definition = on(readings, { retry: RETRY }, (() => {
      attempts++;
      return given;
    }) as never);
    const { refused } = await new TestLane(named(definition)).apply({ sensor: "a", value: 1 });
    assert.equal(refused?.code, "FUNCTION_RETURNED");
    assert.equal(attempts, 1);
  }
});

test("what no stream can take, and no stream that may be emitted to, is refused with the reason", async () => {
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  const cases: [unknown, unknown, RegExp][] = [
    ["nowhere", {}, /cannot emit to "nowhere": it may emit to alerts, plain/],
    [stream("elsewhere", { schema: z.object({ a: z.string() }) }), { a: "" }, /cannot emit to "elsewhere"/],
    [undefined, {}, /its target is no stream/],
    ["plain", undefined, /this is nothing/],
    ["plain", null, /this is null/],
    ["plain", [], /this is a list/],
    ["plain", "text", /this is a string/],
    ["plain", { n: 1n }, /BigInt/],
    ["plain", circle, /circular/],
  ];
  for (const [target, event, wanted] of cases) {
    const definition = on(readings, (_, ctx) => {
      ctx.emit("plain", { before: true });
      ctx.emit(target as string, event as never);
    });
    const { emitted, refused } = await new TestLane(named(definition)).apply({ sensor: "a", value: 1 });
    assert.equal(refused?.code, "FUNCTION_EMIT");
    assert.match(refused?.message ?? "", wanted);
    assert.deepEqual(emitted, []);
  }
});

test("what was emitted is what it was then, whatever becomes of the object", async () => {
  const lane = new TestLane(
    named(
      on(readings, (_, ctx) => {
        const reused = { n: 0 };
        for (reused.n = 0; reused.n < 3; reused.n++) ctx.emit("plain", reused);
      }),
    ),
  );
  const { emitted } = await lane.apply({ sensor: "a", value: 1 });
  assert.deepEqual(
    emitted.map(({ event }) => event["n"]),
    [0, 1, 2],
  );
});

test("an attempt that runs out of time is aborted, tried again, and can do nothing afterwards", async () => {
  const reasons: unknown[] = [];
  const late: Promise<unknown>[] = [];
  const definition = on(readings, { state: z.number(), retry: { attempts: 2, delay: "1ms" } }, async (_, ctx) => {
    await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    reasons.push((ctx.signal.reason as { code: string }).code);
    const tried = (async () => {
      assert.throws(() => ctx.emit("plain", {}), { code: "FUNCTION_ENDED" });
      assert.throws(() => ctx.state.set(1), { code: "FUNCTION_ENDED" });
    })();
    late.push(tried);
    await tried;
    throw new Error("nobody hears this");
  });
  const lane = new TestLane(named(definition), { timeoutMs: 5 });
  const { refused, emitted } = await lane.apply({ sensor: "a", value: 1 });
  assert.equal(refused?.code, "FUNCTION_TIMEOUT");
  assert.match(refused?.message ?? "", /after 5 ms \(2 attempts\)/);
  await new Promise(setImmediate);
  await Promise.all(late);
  assert.deepEqual(reasons, ["FUNCTION_TIMEOUT", "FUNCTION_TIMEOUT"]);
  assert.deepEqual(emitted, []);
  assert.equal(lane.state.size, 0);
});

test("a function that never ends by itself is given up", async () => {
  const definition = on(readings, { retry: { attempts: 1 } }, () => new Promise<void>(() => undefined));
  const { refused } = await new TestLane(named(definition), { timeoutMs: 5 }).apply({ sensor: "a", value: 1 });
  assert.equal(refused?.code, "FUNCTION_TIMEOUT");
});

test("state is typed by its schema, frozen, and of the event's key", async () => {
  const shape = z.object({ last: z.number(), seen: z.array(z.string()) });
  const told: string[] = [];
  const lane = new TestLane(
    named(
      on(readings, { state: shape }, (event, ctx) => {
        const before = ctx.state.get();
        if (event.value === 3) {
          (before as { last: number }).last = 9;
        } else if (event.value === 4) ctx.state.set({ last: Number.NaN, seen: [] });
        else if (event.value === 5) ctx.state.delete();
        else {
          const seen = [...(before?.seen ?? []), String(event.value)];
          ctx.state.set({ last: event.value, seen });
          seen.push("later");
          told.push(ctx.state.get()?.seen.join() ?? "");
        }
      }),
    ),
  );
  await lane.apply({ sensor: "a", value: 1 });
  await lane.apply({ sensor: "b", value: 1 });
  await lane.apply({ sensor: "a", value: 2 });
  assert.deepEqual(told, ["1", "1", "1,2"]);
  assert.deepEqual(lane.state.get("a"), { last: 2, seen: ["1", "2"] });
  assert.match((await lane.apply({ sensor: "a", value: 3 })).refused?.message ?? "", /read only property/);
  assert.match((await lane.apply({ sensor: "a", value: 4 })).refused?.message ?? "", /cannot set this state: last: /);
  assert.deepEqual(lane.state.get("a"), { last: 2, seen: ["1", "2"] });
  await lane.apply({ sensor: "a", value: 5 });
  assert.deepEqual([...lane.state.keys()], ["b"]);
});

test("an event without a key has no state, and says so", async () => {
  const lane = new TestLane(named(on(readings, { state: z.number() }, (_, ctx) => ctx.state.set(1))));
  const { refused } = await lane.apply({ sensor: null, value: 1 });
  assert.equal(refused?.code, "FUNCTION_NO_KEY");
});

test("keys are taken in order by the lane: what keyOf says is the key's text", () => {
  const lane = new TestLane(named(on(readings, () => undefined)));
  const keyOf = (sensor: unknown) => lane.operator.keyOf?.(lane.event({ sensor }));
  assert.deepEqual(
    [keyOf("a"), keyOf(5), keyOf(true), keyOf(null), keyOf(undefined)],
    ["a", "5", "true", undefined, undefined],
  );
});

test("a batch has what came meanwhile, at most its size, and what is emitted is each event's own", async () => {
  const sizes: number[] = [];
  const lane = new TestLane(
    named(
      on(readings, { batch: { size: 3 }, state: z.number() }, async (batch, ctx) => {
        sizes.push(batch.length);
        assert.equal(ctx.attempt, 1);
        for (const { event, emit, state } of batch) {
          state.set((state.get() ?? 0) + event.value);
          emit("plain", { sum: state.get() });
        }
      }),
    ),
  );
  const values = [1, 2, 3, 4, 5];
  const outcomes = await Promise.all(values.map((value) => lane.apply({ sensor: "a", value })));
  assert.deepEqual(
    outcomes.map(({ emitted }) => emitted[0]?.event["sum"]),
    [1, 3, 6, 10, 15],
  );
  assert.equal(lane.state.get("a"), 15);
  assert.equal(sizes[0], 3);
  assert.equal(Math.max(...sizes), 3);
});

test("of a batch that throws only the event that fails by itself is lost, in the order of each key", async () => {
  const taken: string[] = [];
  const lane = new TestLane(
    named(
      on(readings, { batch: { size: 4 }, state: z.string(), retry: { attempts: 2, delay: "1ms" } }, async (batch) => {
        for (const { event, state, emit } of batch) {
          if (event.value === 2) throw new Error("bad value");
          state.set(`${state.get() ?? ""}${event.value}`);
          emit("plain", { value: event.value });
        }
        taken.push(batch.map(({ event }) => `${event.sensor}${event.value}`).join("+"));
      }),
    ),
  );
  const events = [
    ...[
      ["a", 1],
      ["a", 2],
      ["b", 3],
      ["a", 4],
    ],
    ...[
      ["a", 5],
      ["b", 6],
      ["c", 7],
      ["c", 2],
    ],
  ] as const;
  const outcomes = await Promise.all(events.map(([sensor, value]) => lane.apply({ sensor, value })));
  assert.deepEqual(
    outcomes.map(({ emitted, refused }) => refused?.code ?? emitted[0]?.event["value"]),
    [1, "FUNCTION_FAILED", 3, 4, 5, 6, 7, "FUNCTION_FAILED"],
  );
  assert.deepEqual(Object.fromEntries(lane.state), { a: "145", b: "36", c: "7" });
  assert.ok(taken.includes("a1"), taken.join(" "));
});

test("law: whatever fails, of any batch size, state and emissions are those of the events that do not, in order", async () => {
  let seed = 17;
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
    return seed / 0x7fffffff;
  };
  for (let round = 0; round < 40; round++) {
    const size = 1 + Math.floor(random() * 6);
    const events = Array.from({ length: 30 }, (_, i) => ({
      sensor: "abc"[Math.floor(random() * 3)] as string,
      value: i,
      fails: random() < 0.15,
    }));
    const failing = new Set(events.filter(({ fails }) => fails).map(({ value }) => value));
    const definition = on(
      readings,
      { batch: { size }, state: z.array(z.number()), retry: { attempts: 1 } },
      async (batch) => {
        await null;
        for (const { event, state } of batch) {
          if (failing.has(event.value)) throw new Error("bad");
          state.set([...(state.get() ?? []), event.value]);
        }
      },
    );
    const lane = new TestLane(named(definition));
    const outcomes: Promise<Outcome>[] = [];
    for (const { sensor, value } of events) {
      outcomes.push(lane.apply({ sensor, value }));
      if (random() < 0.2) await new Promise(setImmediate);
    }
    const refused = (await Promise.all(outcomes)).flatMap((outcome, i) => (outcome.refused ? [i] : []));
    assert.deepEqual(
      refused,
      [...failing].sort((a, b) => a - b),
    );
    for (const sensor of "abc") {
      const wanted = events.filter((event) => event.sensor === sensor && !event.fails).map(({ value }) => value);
      assert.deepEqual(lane.state.get(sensor) ?? [], wanted, `round ${round}, key ${sensor}`);
    }
  }
});
