import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { dividePartitions, type Member } from "../../src/log/kafka/group/divide-partitions.ts";
import {
  readAssignment,
  readSubscription,
  type TopicPartitions,
  writeAssignment,
  writeSubscription,
} from "../../src/log/kafka/group/member-protocol.ts";

const none: TopicPartitions = new Map();

function member(name: string, topics: readonly string[], owned: TopicPartitions = none, generation = -1): Member {
  return { id: `${name}-id`, name, topics, owned, generation };
}

function sizes(divided: ReadonlyMap<string, TopicPartitions>): number[] {
  return [...divided.values()].map((partitions) => [...partitions.values()].flat().length);
}

test("partition p of every topic goes to one member, evenly", () => {
  const topics = ["orders", "clicks"];
  const counts = new Map([
    ["orders", 6],
    ["clicks", 6],
  ]);
  const divided = dividePartitions([member("b", topics), member("a", topics), member("c", topics)], counts);
  assert.deepEqual(sizes(divided), [4, 4, 4]);
  for (const partitions of divided.values()) assert.deepEqual(partitions.get("orders"), partitions.get("clicks"));
});

test("topics with fewer partitions do not all go to the first member", () => {
  const counts = new Map([
    ["orders", 4],
    ["audits", 2],
  ]);
  const topics = [...counts.keys()];
  const all = new Map([...counts].map(([topic, count]) => [topic, Array.from({ length: count }, (_, i) => i)]));
  const divided = dividePartitions([member("a", topics, all, 1), member("b", topics)], counts);
  assert.deepEqual(
    divided.get("a-id"),
    new Map([
      ["orders", [0, 2]],
      ["audits", [0]],
    ]),
  );
  assert.deepEqual(divided.get("b-id"), new Map(), "what moves is given in the next round");
});

test("a stream that the owner does not know goes to a member who does", () => {
  const counts = new Map([
    ["orders", 2],
    ["new", 2],
  ]);
  const divided = dividePartitions([member("a", ["orders"]), member("b", ["orders", "new"])], counts);
  assert.deepEqual(divided.get("b-id")?.get("new"), [0, 1]);
});

/** Members that come and go; each round, every one lets go of what it was not given. */
test("any history of members ends with every partition at one of them, co-partitioned, and none ever at two", () => {
  const change = fc.record({
    joins: fc.array(fc.nat(7), { maxLength: 3 }),
    leaves: fc.array(fc.nat(7), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), fc.nat(12), fc.nat(12), (changes, many, few) => {
      const counts = new Map([
        ["orders", many],
        ["clicks", Math.min(many, few)],
      ]);
      const topics = [...counts.keys()];
      const owned = new Map<string, TopicPartitions>();
      let generation = 0;
      const round = (): boolean => {
        generation++;
        const members = [...owned].map(([name, mine]) => member(name, topics, mine, generation - 1));
        const divided = dividePartitions(members, counts);
        let moved = false;
        const held = new Map<string, string>();
        for (const [name, mine] of owned)
          for (const [topic, partitions] of mine) for (const p of partitions) held.set(`${topic}/${p}`, name);
        for (const name of owned.keys()) {
          const given = divided.get(`${name}-id`) ?? none;
          for (const [topic, partitions] of given)
            for (const p of partitions) {
              const holder = held.get(`${topic}/${p}`);
              assert.ok(holder === undefined || holder === name, "nobody is given what another one still has");
            }
          if (JSON.stringify([...(owned.get(name) ?? none)]) !== JSON.stringify([...given])) moved = true;
          owned.set(name, given);
        }
        return moved;
      };
      for (const { joins, leaves } of changes) {
        for (const name of leaves) owned.delete(`w${name}`);
        for (const name of joins) if (!owned.has(`w${name}`)) owned.set(`w${name}`, none);
        round();
      }
      if (owned.size === 0) return;
      for (let i = 0; i < 3 && round(); i++);
      assert.equal(round(), false, "it settles");
      const orders = [...owned.values()].flatMap((mine) => mine.get("orders") ?? []);
      assert.deepEqual(
        orders.toSorted((a, b) => a - b),
        Array.from({ length: many }, (_, i) => i),
      );
      for (const mine of owned.values()) {
        const clicks = (mine.get("orders") ?? []).filter((p) => p < Math.min(many, few));
        assert.deepEqual(mine.get("clicks") ?? [], clicks);
        const share = (mine.get("orders") ?? []).length;
        assert.ok(share >= Math.floor(many / owned.size) && share <= Math.ceil(many / owned.size));
      }
    }),
    { numRuns: 300 },
  );
});

test("what members tell each other is read as it was written", () => {
  const owned = new Map([
    ["shop.orders", [0, 3]],
    ["shop.clicks", []],
  ]);
  const subscription = { topics: ["shop.orders", "shop.clicks"], owned, generation: 7 };
  assert.deepEqual(readSubscription(writeSubscription(subscription)), subscription);
  assert.deepEqual(readAssignment(writeAssignment(owned)), owned);
  assert.deepEqual(readAssignment(Buffer.alloc(0)), new Map());
});
