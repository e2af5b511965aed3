import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Lane, Refusal } from "../../src/gateway/admission.ts";
import { Admission, Ticket } from "../../src/gateway/admission.ts";
import { HandMoved } from "./hand-moved.ts";

const MIB = 1024 * 1024;

function opened(limitBytes: number) {
  const time = new HandMoved();
  const admission = new Admission(limitBytes, time);
  return { time, admission };
}

/** A request of so many bytes that is let in. */
function enter(lane: Lane, bytes: number): Ticket {
  const ticket = new Ticket(lane);
  assert.equal(ticket.enter(bytes), undefined, `${bytes} bytes are let in`);
  return ticket;
}

function refused(lane: Lane, bytes: number): Refusal {
  const ticket = new Ticket(lane);
  const refusal = ticket.enter(bytes);
  assert.ok(refusal !== undefined, `${bytes} bytes are refused`);
  ticket.release();
  return refusal;
}

/** As many requests as are let in. */
function fill(lane: Lane, bytes: number): Ticket[] {
  const tickets: Ticket[] = [];
  for (;;) {
    const ticket = new Ticket(lane);
    if (ticket.enter(bytes) !== undefined) return tickets;
    tickets.push(ticket);
  }
}

describe("the memory of requests under way", () => {
  it("is half a lane's that is alone, and the rest stays free for others", () => {
    const { admission } = opened(100 * MIB);
    const noisy = fill(admission.stream("clicks").lane("a"), MIB);
    assert.equal(noisy.length, 50);
    enter(admission.stream("orders").lane("a"), 25 * MIB);
    assert.equal(admission.inflightBytes, 75 * MIB);
  });

  it("is never more than the limit, however many ask for it and however much they hold", () => {
    const { admission } = opened(100 * MIB);
    const streams = Array.from({ length: 20 }, (_, n) => admission.stream(`s${n}`));
    for (let round = 0; round < 3; round++) {
      for (const stream of streams) for (const key of ["a", "b", "c"]) fill(stream.lane(key), 3 * MIB);
      assert.ok(admission.inflightBytes <= 100 * MIB, `${admission.inflightBytes}`);
    }
  });

  it("has equal parts for lanes that take all they can", () => {
    const { admission } = opened(120 * MIB);
    const lanes = ["a", "b", "c"].map((stream) => admission.stream(stream).lane("k"));
    for (let round = 0; round < 200; round++) for (const lane of lanes) new Ticket(lane).enter(MIB);
    assert.deepEqual(
      lanes.map(({ inflightBytes }) => inflightBytes / MIB),
      [30, 30, 30],
    );
  });

  it("is divided between the keys of one stream too", () => {
    const { admission } = opened(100 * MIB);
    const clicks = admission.stream("clicks");
    fill(clicks.lane("noisy"), MIB);
    enter(clicks.lane("quiet"), 10 * MIB);
  });

  it("lets a request in that is alone, whatever its size, and lets it grow", () => {
    const { admission } = opened(MIB);
    const lane = admission.stream("orders").lane("a");
    const alone = enter(lane, 3 * MIB);
    assert.equal(alone.grow(3 * MIB), undefined);
    assert.equal(refused(lane, 1).error.code, "OVERLOADED");
    alone.release();
    assert.equal(admission.inflightBytes, 0);
    enter(lane, 1);
  });

  it("is not taken by a request that was answered while its body still came", () => {
    const { admission } = opened(MIB);
    const ticket = enter(admission.stream("orders").lane("a"), 1000);
    ticket.release();
    ticket.release();
    ticket.grow(1000);
    assert.deepEqual([admission.inflightBytes, admission.activeLanes], [0, 0]);
  });
});

describe("a lane that is late", () => {
  /** A lane that works off 10 MiB a second and has so many waiting, the oldest of them for 300 ms. */
  function behind(waiting: number, before: (lane: Lane) => void = () => undefined) {
    const { time, admission } = opened(1000 * MIB);
    const lane = admission.stream("clicks").lane("noisy");
    before(lane);
    const tickets = Array.from({ length: waiting + 3 }, () => enter(lane, MIB));
    for (const ticket of tickets) ticket.whole();
    for (let n = 0; n < 3; n++) {
      time.nowMs += 100;
      tickets.shift()?.release();
    }
    return { time, admission, lane, tickets };
  }

  it("is one with more waiting than it works off in a second; up to that it is let in", () => {
    enter(behind(10).lane, MIB);
    assert.equal(refused(behind(11).lane, MIB).error.code, "OVERLOADED");
  });

  it("is one whatever requests before it grew by while they waited", () => {
    const grown = (lane: Lane) => {
      const ticket = enter(lane, MIB);
      ticket.whole();
      assert.equal(ticket.grow(100 * MIB), undefined);
      ticket.release();
    };
    assert.equal(refused(behind(11, grown).lane, MIB).error.code, "OVERLOADED");
  });

  it("hears when there will be room: behind what waits, behind those refused before it, and not all at once", () => {
    const { time, lane } = behind(20);
    assert.equal(refused(lane, 10 * MIB).retryAfterS, 3, "two seconds of work wait, and one is its own");
    assert.equal(refused(lane, 10 * MIB).retryAfterS, 4);
    assert.equal(refused(lane, 30 * MIB).retryAfterS, 7);
    time.chance = 0.99;
    assert.equal(refused(lane, 10 * MIB).retryAfterS, 12, "up to half as long again");
    for (let n = 0; n < 100; n++) refused(lane, 10 * MIB);
    assert.equal(refused(lane, 10 * MIB).retryAfterS, 30, "never longer");
  });

  it("is let in again when what waited is done, and has nothing booked any more", () => {
    const { time, lane, tickets } = behind(20);
    for (let n = 0; n < 100; n++) refused(lane, 10 * MIB);
    while (tickets.length > 8) {
      time.nowMs += 100;
      tickets.shift()?.release();
    }
    enter(lane, MIB).release();
    for (const ticket of tickets) ticket.release();
    enter(lane, 990 * MIB);
    assert.equal(refused(lane, 20 * MIB).retryAfterS, 2);
  });

  it("is told 503 while it is the only one, and 429 while others are served beside it", () => {
    assert.equal(refused(behind(20).lane, MIB).error.status, 503);
    const { admission, lane } = behind(20);
    enter(admission.stream("orders").lane("quiet"), 1000);
    const refusal = refused(lane, MIB);
    assert.deepEqual([refusal.error.status, refusal.error.code], [429, "SHARE_EXCEEDED"]);
    assert.match(refusal.body, /the key noisy has \d+ bytes under way to the stream \\"clicks\\"/);
  });

  it("does not make others late: another stream and another key are let in", () => {
    const { admission, lane } = behind(20);
    refused(lane, MIB);
    enter(admission.stream("orders").lane("noisy"), MIB).whole();
    enter(lane.stream.lane("quiet"), MIB);
  });

  it("is not one that had a burst after a quiet time, nor one with little waiting for a disk that stands still", () => {
    const { time, admission } = opened(1000 * MIB);
    const lane = admission.stream("clicks").lane("a");
    for (let n = 0; n < 100; n++) enter(lane, MIB).whole();
    time.nowMs += 249;
    enter(lane, MIB);
    time.nowMs += 1;
    refused(lane, MIB);

    const still = admission.stream("orders").lane("a");
    for (let n = 0; n < 10; n++) enter(still, 3000).whole();
    time.nowMs += 60_000;
    enter(still, 3000);
  });
});
