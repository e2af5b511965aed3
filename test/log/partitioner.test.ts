import assert from "node:assert/strict";
import { it } from "node:test";
import { murmur2, partitionOf } from "../../src/log/partitioner.ts";

it("hashes as Kafka does", () => {
  // From Apache Kafka's UtilsTest.testMurmur2.
  const vectors: Record<string, number> = {
    "21": -973932308,
    foobar: -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971,
    abc: 479470107,
  };
  for (const [key, hash] of Object.entries(vectors)) assert.equal(murmur2(Buffer.from(key)), hash, key);
});

it("puts a key where Kafka's producer puts it", () => {
  // (hash & 0x7fffffff) % partitions
  assert.equal(partitionOf("21", 1000), (-973932308 & 0x7fffffff) % 1000);
  assert.equal(partitionOf("foobar", 7), (-790332482 & 0x7fffffff) % 7);
  assert.equal(partitionOf("anything", 1), 0);
});

it("hashes the UTF-8 bytes of long and foreign keys alike", () => {
  for (const key of ["", "ü", "日本語", "😀".repeat(90), "k".repeat(5000)]) {
    assert.equal(partitionOf(key, 1_000_003), (murmur2(Buffer.from(key)) & 0x7fffffff) % 1_000_003, key.slice(0, 10));
  }
});

it("spreads keys evenly", () => {
  const counts = new Array<number>(16).fill(0);
  for (let i = 0; i < 16_000; i++) counts[partitionOf(`customer-${i}`, 16)]!++;
  for (const count of counts) assert.ok(count > 850 && count < 1150, `${counts}`);
});
