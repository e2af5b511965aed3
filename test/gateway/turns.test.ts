import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Job } from "../../src/gateway/turns.ts";
import { Place, StreamPlaces, Turns } from "../../src/gateway/turns.ts";
import { HandMoved } from "./hand-moved.ts";

function opened() {
  const time = new HandMoved();
  const turns = new Turns(time);
  const done: string[] = [];
  /** Work of `steps` steps, each of so many milliseconds. */
  const job = (name: string, place: Place, stepMs = 1, steps = 1): Job => {
    let left = steps;
    return {
      place,
      step() {
        time.nowMs += stepMs;
        if (--left > 0) return "more";
        done.push(name);
        return "done";
      },
    };
  };
  return { time, turns, done, job, lane: (stream = new StreamPlaces()) => new Place(stream) };
}

describe("turns", () => {
  it("are not waited for while there is nothing else to do", () => {
    const { turns, done, job, lane } = opened();
    turns.take(job("a", lane()));
    assert.deepEqual(done, ["a"]);
  });

  it("leave time for the rest of the event loop: a turn of it ends after some milliseconds, whatever waits", () => {
    const { time, turns, done, job, lane } = opened();
    const busy = lane();
    for (let n = 0; n < 100; n++) turns.take(job(`${n}`, busy));
    let turnsTaken = 0;
    for (let before = done.length; time.turn(); before = done.length) {
      turnsTaken++;
      assert.ok(done.length - before <= 8, "8 ms of work of 1 ms each");
    }
    assert.equal(done.length, 100);
    assert.ok(turnsTaken >= 12);
    assert.deepEqual(
      done,
      Array.from({ length: 100 }, (_, n) => `${n}`),
      "in their order",
    );
  });

  it("come round between streams and between the keys of a stream, however much one of them has waiting", () => {
    const { time, turns, done, job, lane } = opened();
    const stream = new StreamPlaces();
    const noisy = lane(stream);
    for (let n = 0; n < 1000; n++) turns.take(job("noisy", noisy));
    for (let n = 0; n < 10; n++) time.turn();
    const before = done.length;
    turns.take(job("other key", lane(stream)));
    turns.take(job("other stream", lane()));
    time.turn();
    const since = done.slice(before);
    assert.ok(since.includes("other key") && since.includes("other stream"), since.join());
    assert.ok(since.length <= 9);
  });

  it("are as long for all: a lane of long steps gets no more time than one of short ones", () => {
    const { time, turns, done, job, lane } = opened();
    const [long, short] = [lane(), lane()];
    for (let n = 0; n < 100; n++) turns.take(job("long", long, 10));
    for (let n = 0; n < 1000; n++) turns.take(job("short", short, 1));
    while (!(done.filter((name) => name === "short").length >= 500)) time.turn();
    const longMs = done.filter((name) => name === "long").length * 10;
    assert.ok(longMs >= 450 && longMs <= 550, `${longMs} ms beside 500 ms`);
  });

  it("divide a large body into steps, so that a small one passes it", () => {
    const { time, turns, done, job, lane } = opened();
    turns.take(job("large", lane(), 20, 50));
    turns.take(job("small", lane()));
    while (time.turn());
    assert.deepEqual(done, ["small", "large"]);
  });

  it("pass over a stream whose log has enough to do, until it has answered", () => {
    const { time, turns, done, job, lane } = opened();
    const [slow, quick] = [lane(), lane()];
    turns.logging(slow.stream, 4 * 1024 * 1024);
    turns.take(job("slow", slow));
    turns.take(job("quick", quick));
    while (time.turn());
    assert.deepEqual(done, ["quick"]);
    turns.logged(slow.stream, 1);
    while (time.turn());
    assert.deepEqual(done, ["quick", "slow"]);
  });

  it("keep the place of a job that had to wait for something", () => {
    const { time, turns, done, job, lane } = opened();
    const place = lane();
    const letters = job("with dead letters", place);
    let waited = false;
    const paused: Job = {
      place,
      step() {
        if (waited) return letters.step();
        waited = true;
        return "paused";
      },
    };
    turns.take(paused);
    for (let n = 0; n < 20; n++) turns.take(job("later", place));
    turns.resume(paused);
    while (time.turn());
    assert.ok(done.indexOf("with dead letters") < 10, "before those that came while it waited");
    assert.equal(done.length, 21);
  });
});
