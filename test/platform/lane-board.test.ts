import assert from "node:assert/strict";
import { test } from "node:test";
import { LaneBoard } from "../../src/platform/lane-board.ts";
import type { LaneRecord } from "../../src/react/lane-records.ts";
import type { LaneState } from "../../src/react/reactor.ts";

const PLANS = [
  { stream: "clicks", lane: "function-f" },
  { stream: "clicks", lane: "window-w" },
];

function lane(name: string, partition: number, position: number, owner = 1): LaneState {
  return {
    owner,
    floors: [
      { stream: "clicks", partition, offset: position },
      { stream: "tallies", partition: 0, offset: position * 2 },
    ],
    status: {
      ...{ lane: name, stream: "clicks", partition, operators: [name], begun: 0, position, pending: 0 },
      ...{ handled: position, dead: 0, repeated: 0, emitted: 0, stateEntries: 0, stateBytes: 0 },
      ...{ checkpoint: undefined, restarts: 0, problem: undefined },
    },
  };
}

function world() {
  const records: LaneRecord[] = [];
  const published: LaneRecord[][] = [];
  const reports: unknown[] = [];
  let failing = false;
  const board = (worker: string, own: () => LaneState[]) =>
    new LaneBoard({
      records: {
        async publish(lanes) {
          if (failing) throw new Error("the records are away");
          published.push([...lanes]);
          for (const one of lanes) {
            const at = records.findIndex(
              ({ lane: name, partition }) => name === one.lane && partition === one.partition,
            );
            records.splice(at === -1 ? records.length : at, at === -1 ? 0 : 1, one);
          }
        },
        all: async () => [...records],
      },
      ...{ own, worker, plans: PLANS, report: (error: unknown) => void reports.push(error) },
      partitions: (stream) => (stream === "clicks" ? 2 : 1),
      end: () => 100,
    });
  const fail = (now: boolean) => {
    failing = now;
  };
  return { board, published, records, reports, fail };
}

test("lanes of other workers are as they last said, and what is behind them is counted by the log of now", async () => {
  const { board, published } = world();
  const one = [lane("function-f", 0, 10), lane("window-w", 0, 20)];
  const two = [lane("function-f", 1, 30), lane("window-w", 1, 40)];
  const [first, second] = [board("one", () => one), board("two", () => two)];
  await first.look();
  await second.look();
  await first.look();
  assert.deepEqual(
    first.lanes().map(({ lane: name, partition, position, pending }) => [name, partition, position, pending]),
    [
      ["function-f", 0, 10, 0],
      ["window-w", 0, 20, 0],
      ["function-f", 1, 30, 70],
      ["window-w", 1, 40, 60],
    ],
  );
  // Nothing is said twice.
  assert.deepEqual(
    published.map((told) => told.length),
    [2, 2],
  );
  two[0] = lane("function-f", 1, 31);
  await second.look();
  assert.deepEqual(
    published.at(-1)?.map(({ status, worker }) => [status.position, worker]),
    [[31, "two"]],
  );
});

test("the log keeps what any lane needs, wherever it is, and everything while that is not known of one", async () => {
  const { board } = world();
  const one = [lane("function-f", 0, 10), lane("window-w", 0, 20)];
  const two: LaneState[] = [lane("function-f", 1, 3)];
  const [first, second] = [board("one", () => one), board("two", () => two)];
  assert.equal(first.floor("clicks", 0), 0, "nothing is known before the first look");
  await first.look();
  await second.look();
  await first.look();
  assert.equal(first.floor("clicks", 0), 10);
  assert.equal(first.floor("clicks", 1), 0, "a lane of it was never opened");
  assert.equal(first.floor("tallies", 0), 6);
  assert.equal(first.floor("orders", 0), Number.POSITIVE_INFINITY);
  two.push(lane("window-w", 1, 5));
  await second.look();
  await first.look();
  assert.equal(first.floor("clicks", 1), 3);
  assert.equal(second.floor("clicks", 0), 10);
});

test("a lane that has moved is told of by its owner, and one that the project has no more is not told of", async () => {
  const { board, records } = world();
  let one = [lane("function-f", 0, 10)];
  let two: LaneState[] = [];
  const [first, second] = [board("one", () => one), board("two", () => two)];
  await first.look();
  records.push({
    ...lane("function-gone", 0, 1),
    stream: "clicks",
    partition: 0,
    lane: "function-gone",
    worker: "old",
  });
  one = [];
  two = [lane("function-f", 0, 12, 2)];
  await second.look();
  await first.look();
  assert.deepEqual(
    first.lanes().map(({ lane: name, position }) => [name, position]),
    [["function-f", 12]],
  );
});

test("records that are away are told of once, and made up for", async () => {
  const { board, reports, published, fail } = world();
  const one = board("one", () => [lane("function-f", 0, 10)]);
  fail(true);
  await one.look();
  await one.look();
  assert.equal(reports.length, 1);
  fail(false);
  await one.look();
  assert.equal(published.length, 1);
});
