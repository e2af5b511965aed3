import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { OperatorPlan } from "../../src/react/operator.ts";
import type { Reactor } from "../../src/react/reactor.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryLog } from "./memory-log.ts";
import { counting, openReactor, type World } from "./open-reactor.ts";

/** What a history does; a crash may fall anywhere between and into it. */
type Step = { readonly append: readonly { key: string; trouble?: string }[] } | "checkpoint" | "applied";

interface History {
  readonly steps: readonly Step[];
  readonly plan: OperatorPlan;
  readonly partitions: number;
}

/**
 * Lives through a history with crashes: the n-th of them at the `crashes[n]`-th durable step of its life. `power` loses what was not synced; a write of the log that is cut
 * off may be there all the same. Resolves to what was reached, and the durable steps of the last life.
 */
async function live(
  { steps, plan, partitions }: History,
  crashes: readonly { at: number; power: boolean; kept: boolean }[],
) {
  const world: World = { log: new MemoryLog(), disk: new MemoryDisk(), letters: new Map(), reports: [] };
  const { log, disk } = world;
  await log.open("events");
  await log.open("results", { partitions });
  const left = [...crashes];
  let crash = left.shift();
  let durable = 0;
  let dead: (() => void) | undefined;
  let isDead = false;
  const meet = (): boolean => {
    if (isDead) return true;
    if (++durable !== crash?.at) return false;
    isDead = true;
    dead?.();
    return true;
  };
  disk.before = () => {
    if (meet()) throw Object.assign(new Error("EIO: dead"), { code: "EIO" });
  };
  log.fate = () => (!isDead && meet() ? (crash?.kept ? "kept" : "lost") : isDead ? "lost" : undefined);
  let appended = 0;
  let at = 0;
  for (;;) {
    const death = new Promise<"dead">((resolve) => {
      dead = () => resolve("dead");
    });
    let reactor: Reactor | undefined;
    const opening = openReactor(world, [plan], {
      get drainMs() {
        return isDead ? 0 : 10_000;
      },
    });
    try {
      reactor = await opening;
      while (at < steps.length && !isDead) {
        const step = steps[at++] as Step;
        if (step === "checkpoint") await Promise.race([reactor.checkpoint(), death]);
        else if (step === "applied")
          await Promise.race([reactor.applied("events", 0, log.ends("events", 0).end - 1), death]);
        else {
          const lines = step.append.map(({ key, trouble }) => {
            const n = appended++;
            return JSON.stringify({ id: String(n), key, n, ...(trouble && { do: trouble }) });
          });
          log.nowMs += 10;
          log.add("events", 0, lines, "test");
        }
      }
      if (!isDead) await Promise.race([reactor.applied("events", 0, log.ends("events", 0).end - 1), death]);
    } catch (error) {
      if (!isDead) throw error;
    }
    if (isDead) {
      await reactor?.close();
      disk.crash(crash?.power === true);
      crash = left.shift();
      durable = 0;
      isDead = false;
      continue;
    }
    assert.ok(reactor);
    const keys = new Set(steps.flatMap((step) => (typeof step === "string" ? [] : step.append.map(({ key }) => key))));
    const counts: Record<string, unknown> = {};
    for (const key of keys) counts[key] = (await reactor.read("count", key)) ?? 0;
    const [status] = reactor.status();
    const used = durable;
    await reactor.close();
    const emitted = Array.from({ length: partitions }, (_, partition) =>
      log.events("results", partition).map(({ value }) => value),
    ).flat();
    return { counts, status, emitted, world, durable: used };
  }
}

/** What comes out when nothing is in the way, by the simplest account. */
function expected({ steps, plan }: History) {
  const { every = 1 } = plan.plan as { every?: number };
  const counts: Record<string, number> = {};
  const emitted: Record<string, unknown>[] = [];
  const letters: string[] = [];
  let offset = 0;
  for (const step of steps) {
    if (typeof step === "string") continue;
    for (const { key, trouble } of step.append) {
      counts[key] ??= 0;
      const cause = offset++;
      if (trouble === "throw" || trouble === "refuse") {
        letters.push(`events/0/${cause}/react/count`);
        continue;
      }
      counts[key]++;
      if (counts[key] % every !== 0) continue;
      if (counts[key] === 13) letters.push(`results/door/count/events/0/${cause}/0`);
      else emitted.push({ key, count: counts[key], cause, id: `count/events/0/${cause}/0` });
    }
  }
  return { counts, emitted, letters, events: offset };
}

async function holds(history: History, crashes: readonly { at: number; power: boolean; kept: boolean }[]) {
  const wanted = expected(history);
  const got = await live(history, crashes);
  assert.deepEqual(got.counts, wanted.counts);
  const byKey = (events: readonly Record<string, unknown>[]) => Map.groupBy(events, ({ key }) => key);
  const [gotByKey, wantedByKey] = [byKey(got.emitted), byKey(wanted.emitted)];
  for (const key of new Set([...gotByKey.keys(), ...wantedByKey.keys()]))
    assert.deepEqual(gotByKey.get(key), wantedByKey.get(key), `events emitted for ${String(key)}`);
  assert.deepEqual([...got.world.letters.keys()].sort(), wanted.letters.sort());
  const { handled, dead, emitted, position } = got.status ?? assert.fail("there is no lane");
  const refused = wanted.letters.filter((id) => id.includes("/react/")).length;
  assert.deepEqual(
    { handled, dead, emitted, position },
    { handled: wanted.events, dead: refused, emitted: wanted.emitted.length, position: wanted.events },
  );
  return got;
}

const some = (key: string, count: number, trouble?: string) =>
  Array.from({ length: count }, () => ({ key, ...(trouble && { trouble }) }));

const FIXED: Step[] = [
  { append: [...some("a", 3), ...some("b", 2), ...some("a", 1, "throw")] },
  "applied",
  "checkpoint",
  { append: [...some("b", 2), ...some("c", 3), ...some("a", 9)] },
  "applied",
  { append: [...some("a", 4), ...some("c", 1, "refuse"), ...some("d", 5)] },
  "checkpoint",
  { append: some("d", 12) },
];

for (const slow of [false, true]) {
  const what = slow ? "an operator that gives promises" : "an operator that returns at once";
  test(`${what}, killed at each durable step in turn, ends where an uninterrupted run ends`, async () => {
    const history: History = { steps: FIXED, plan: counting({ emitTo: "results", slow }), partitions: 2 };
    const { durable } = await holds(history, []);
    assert.ok(durable >= 10, `only ${durable} durable steps`);
    // Promises make many small appends, which are alike.
    for (let at = 1; at <= durable; at += slow ? 3 : 1)
      await holds(history, [{ at, power: at % 2 === 0, kept: at % 3 === 0 }]);
  });
}

test("random histories with several crashes end where uninterrupted runs end", async () => {
  const event = fc.record({
    key: fc.constantFrom("a", "b", "c", "hot", "hot", "hot"),
    trouble: fc.constantFrom("throw", "refuse", undefined, undefined, undefined),
  });
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.array(event, { minLength: 1, maxLength: 30 }).map((append) => ({ append }) as Step) },
    { weight: 2, arbitrary: fc.constant<Step>("checkpoint") },
    { weight: 1, arbitrary: fc.constant<Step>("applied") },
  );
  const history = fc.record({
    steps: fc.array(step, { minLength: 2, maxLength: 10 }),
    plan: fc
      .record({ slow: fc.boolean(), every: fc.constantFrom(1, 2) })
      .map((plan) => counting({ emitTo: "results", ...plan })),
    partitions: fc.constantFrom(1, 3),
  });
  const crash = fc.record({ at: fc.integer({ min: 1, max: 14 }), power: fc.boolean(), kept: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(history, fc.array(crash, { minLength: 1, maxLength: 4 }), async (lived, crashes) => {
      await holds(lived, crashes);
    }),
    { numRuns: 40 },
  );
});
