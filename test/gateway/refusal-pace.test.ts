import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RefusalPace } from "../../src/gateway/refusal-pace.ts";
import { HandMoved } from "./hand-moved.ts";

describe("refusals", () => {
  it("go out at once while there are few", () => {
    const time = new HandMoved();
    const pace = new RefusalPace(time);
    const held: number[] = [];
    for (let n = 0; n < 50; n++) pace.pace((ms) => held.push(ms));
    assert.deepEqual(held, Array(50).fill(0));
  });

  it("wait when there are many, in order, and none of them for longer than five seconds", () => {
    const time = new HandMoved();
    const pace = new RefusalPace(time);
    const sent: { n: number; heldMs: number }[] = [];
    for (let n = 0; n < 10_000; n++) pace.pace((heldMs) => sent.push({ n, heldMs }));
    assert.equal(sent.length, 100);
    time.pass(1_000);
    assert.ok(sent.length >= 149 && sent.length <= 151, `${sent.length}`);
    for (let n = 0; n < 15 * 50; n++) pace.worked();
    time.pass(10);
    assert.ok(sent.length >= 199 && sent.length <= 202, `${sent.length}, as fifty times fifteen requests were stored`);
    time.pass(4_010);
    assert.equal(sent.length, 10_000);
    assert.ok(sent.every(({ n, heldMs }, place) => n === place && heldMs <= 5_020));
  });

  it("are sent at once when the door closes", () => {
    const time = new HandMoved();
    const pace = new RefusalPace(time);
    let sent = 0;
    for (let n = 0; n < 1_000; n++) pace.pace(() => sent++);
    pace.close();
    assert.equal(sent, 1_000);
  });
});
