import assert from "node:assert/strict";
import { test } from "node:test";
import { reactPeers } from "../../src/platform/react-peers.ts";
import { carriedEvent, type ReactCall, receivedEvent } from "../../src/react/lane-calls.ts";
import type { Worker } from "../../src/state/workers.ts";

const worker = (id: string) => ({ id }) as Worker;
const READ: ReactCall = {
  ...{ to: "lane", stream: "clicks", partition: 2, call: "read", operator: "clicks_1h", request: { keys: ["a"] } },
};

test("a call goes to the worker of the partition, or to the holder of the lease, and its answer comes back", async () => {
  const asked: unknown[] = [];
  const peers = reactPeers(
    Promise.resolve({
      ownerOf: (group: string, stream: string, partition: number) => worker(`${group}/${stream}/${partition}`),
      holderOf: async (lease: string) => worker(`holder of ${lease}`),
      async ask({ id }: Worker, path: string, body: unknown) {
        asked.push([id, path, body]);
        return { answer: [id] };
      },
    }),
  );
  assert.deepEqual(await peers.ask(READ), ["react/clicks/2"]);
  const destinations: ReactCall = { to: "leader", lease: "react", call: "destinations" };
  assert.deepEqual(await peers.ask(destinations), ["holder of react"]);
  assert.deepEqual(asked, [
    ["react/clicks/2", "/v1/workers/react", READ],
    ["holder of react", "/v1/workers/react", destinations],
  ]);
});

test("a lane that nobody has at this moment is to be asked for again", async () => {
  const nobody = {
    ownerOf: () => undefined,
    holderOf: async () => undefined,
    ask: () => assert.fail("nobody is there"),
  };
  await assert.rejects(reactPeers(Promise.resolve(nobody)).ask(READ), { code: "REACT_UNAVAILABLE", retryable: true });
});

test("events on their way to another worker are what they were", () => {
  const event = { partition: 1, offset: 7, payload: Uint8Array.of(0, 255, 10, 123), receivedAtMs: 12.5, source: "ü" };
  const over = receivedEvent(JSON.parse(JSON.stringify(carriedEvent(event))));
  assert.deepEqual({ ...over, payload: Uint8Array.from(over.payload) }, event);
});
