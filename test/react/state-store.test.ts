import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EntryWriter, readEntries } from "../../src/react/state-entries.ts";
import { JSON_CODEC, StateStore } from "../../src/react/state-store.ts";

interface Value {
  readonly n: number;
  readonly text: string;
}

/** What a store does, written on paper: values, when they were set, and what each checkpoint must bring back. */
class Paper {
  values = new Map<string, { value: Value; atMs: number }>();

  alive(nowMs: number, ttlMs: number): Map<string, Value> {
    return new Map(
      [...this.values].filter(([, { atMs }]) => nowMs - atMs < ttlMs).map(([key, { value }]) => [key, value]),
    );
  }
}

const open = (ttlMs: number) => {
  const store = new StateStore<Value>("op/state");
  store.attach(JSON_CODEC as never, ttlMs);
  return store;
};

type Action =
  | { readonly do: "set"; readonly key: number; readonly size: number }
  | { readonly do: "delete" | "get"; readonly key: number }
  | { readonly do: "pass"; readonly ms: number }
  | { readonly do: "take" | "copy" | "write" | "compact" | "restart" };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("set" as const),
      key: fc.nat(40),
      size: fc.constantFrom(1, 1, 1, 3_000, 90_000),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("delete" as const, "get" as const), key: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.nat(60) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "take" as const,
        "copy" as const,
        "write" as const,
        "write" as const,
        "compact" as const,
        "restart" as const,
      ),
    }),
  },
);

test("a store is a map whose entries expire, and its checkpoints bring back exactly what was there when they began", () => {
  fc.assert(
    fc.property(
      fc.array(action, { maxLength: 120 }),
      fc.constantFrom(50, Number.POSITIVE_INFINITY),
      (actions, ttlMs) => {
        let nowMs = 1_000;
        let store = open(ttlMs);
        const paper = new Paper();
        let set = 0;
        /** Blocks of the checkpoint, those of the take under way last; the state that the last whole take is of. */
        let blocks: Uint8Array[] = [];
        let copied: Uint8Array[] | undefined;
        let copying = false;
        let taking: { blocks: Uint8Array[]; saved: Map<string, { value: Value; atMs: number }> } | undefined;
        let saved = new Map<string, { value: Value; atMs: number }>();
        const writers: EntryWriter[] = [];
        const writer = (into: Uint8Array[]) => {
          const made = new EntryWriter("op/state", 4_096, (block) => into.push(block));
          writers.push(made);
          return made;
        };
        const finish = () => {
          while (taking && store.writeChanges(3));
          for (const made of writers) made.end();
          if (!taking) return;
          blocks.push(...taking.blocks);
          copied?.push(...taking.blocks);
          if (copied && !copying) {
            blocks = copied; // the copy is whole with the changes behind it
            copied = undefined;
          }
          saved = taking.saved;
          taking = undefined;
        };
        for (const step of actions) {
          switch (step.do) {
            case "set": {
              const value = { n: set++, text: "x".repeat(step.size) };
              store.set(`key-${step.key}`, value, nowMs);
              paper.values.set(`key-${step.key}`, { value, atMs: nowMs });
              break;
            }
            case "delete":
              store.delete(`key-${step.key}`);
              paper.values.delete(`key-${step.key}`);
              break;
            case "get":
              assert.deepEqual(store.get(`key-${step.key}`, nowMs), paper.alive(nowMs, ttlMs).get(`key-${step.key}`));
              break;
            case "pass":
              nowMs += step.ms;
              store.expire(nowMs, 2);
              break;
            case "take":
              finish();
              taking = { blocks: [], saved: new Map(paper.values) };
              store.beginChanges(writer(taking.blocks).add);
              break;
            case "copy":
              if (copying || copied) break;
              finish();
              copied = [];
              copying = true;
              store.beginCopy(writer(copied).add);
              break;
            case "write":
              if (taking && !store.writeChanges(3)) finish();
              if (copying && !taking && !store.writeCopy(3)) {
                for (const made of writers) made.end();
                copying = false;
              }
              break;
            case "compact":
              store.compact();
              break;
            case "restart": {
              finish();
              const restored = new StateStore<Value>("op/state");
              for (const block of blocks) readEntries(block, (key, atMs, bytes) => restored.load(key, atMs, bytes));
              restored.attach(JSON_CODEC as never, ttlMs);
              store = restored;
              paper.values = new Map(saved);
              copied = undefined;
              copying = false;
            }
          }
        }
        const alive = paper.alive(nowMs, ttlMs);
        assert.equal(store.size(nowMs), alive.size);
        assert.deepEqual(new Map(store.entries(nowMs)), new Map([...alive]));
      },
    ),
    { numRuns: 400 },
  );
});

test("more values than are kept as objects, changed again and again, stay what they are and give their memory back", () => {
  const store = open(Number.POSITIVE_INFINITY);
  const keys = 50_000;
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < keys; i++) store.set(`key-${i}`, { n: i + round, text: "x".repeat(round * 10) }, 0);
    while (store.compact());
  }
  for (let i = 0; i < keys; i += 7) assert.equal(store.get(`key-${i}`, 0)?.n, i + 3);
  const used = store.bytes;
  for (let i = 0; i < keys; i++) store.delete(`key-${i}`);
  while (store.compact());
  assert.ok(store.bytes < used / 10, `${store.bytes} of ${used} bytes are kept`);
});
