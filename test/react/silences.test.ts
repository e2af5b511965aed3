/** Silences: which alerts, when, and what happens when they end. By a clock moved by hand. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Alert } from "../../src/define/alert-event.ts";
import type { StreamAlert } from "../../src/define/bind-alerts.ts";
import type { KnownAlert } from "../../src/flow/alert-records.ts";
import type { Silence } from "../../src/flow/silences.ts";
import { AlertDesk } from "../../src/react/alerts/alert-desk.ts";
import { latestWindow, matches, silencedUntilMs, windowAt } from "../../src/react/alerts/silenced.ts";
import { SilentStreams } from "../../src/react/alerts/silent-streams.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 5, 12);

const silence = (given: Partial<Silence>): Silence => ({
  ...{ id: "s", createdAtMs: START, actor: "ann", reason: "r", match: { name: "*" } },
  ...{ startsAtMs: START, endsAtMs: undefined, repeat: undefined, ended: undefined, ...given },
});

describe("a silence", () => {
  it("matches what it names, with * for any text", () => {
    const alert = { kind: "alert", name: "overheat", key: "north/17", severity: "critical" };
    for (const [match, wanted] of [
      [{ name: "overheat" }, true],
      [{ name: "over*", key: "north/*" }, true],
      [{ key: "*17" }, true],
      [{ key: "*orth*1*7" }, true],
      [{ key: "*7*7" }, false],
      [{ key: "north/1" }, false],
      [{ name: "Overheat" }, false],
      [{ severity: "critical", kind: "alert" }, true],
      [{ severity: "warning" }, false],
      [{ kind: "ledger" }, false],
      [{ name: "o.erheat" }, false],
    ] as const)
      assert.equal(matches(match, alert), wanted, JSON.stringify(match));
  });

  it("lasts from its beginning to its end, or until it is ended by hand", () => {
    const once = silence({ endsAtMs: START + HOUR });
    assert.equal(windowAt(once, START - 1), undefined);
    assert.deepEqual(windowAt(once, START), { fromMs: START, toMs: START + HOUR });
    assert.equal(windowAt(once, START + HOUR), undefined);
    const ended = silence({ endsAtMs: START + HOUR, ended: { atMs: START + MINUTE, actor: "bob" } });
    assert.equal(windowAt(ended, START + MINUTE), undefined);
    assert.deepEqual(latestWindow(ended, START + DAY), { fromMs: START, toMs: START + MINUTE });
    const early = silence({ startsAtMs: START + HOUR, endsAtMs: START + DAY, ended: { atMs: START, actor: "bob" } });
    assert.equal(latestWindow(early, START + 2 * HOUR), undefined);
    const all = [
      once,
      silence({ id: "t", endsAtMs: START + 2 * HOUR }),
      silence({ match: { key: "x" }, endsAtMs: START + DAY }),
    ];
    const alert = { kind: "alert", name: "a", key: "k", severity: "info" };
    assert.equal(silencedUntilMs(all, alert, START + MINUTE), START + 2 * HOUR);
    assert.equal(silencedUntilMs(all, alert, START + 2 * HOUR), undefined);
  });

  it("comes again at every moment of its expression, by the clocks of its zone", () => {
    // Nights of Berlin: 22:00 to 6:00, whatever the clocks do. In 2026 they change on 29 March and 25 October.
    const nights = silence({
      startsAtMs: Date.UTC(2026, 0, 1),
      repeat: { cron: "0 22 * * *", timezone: "Europe/Berlin", lastsMs: 8 * HOUR },
    });
    const hourIn = new Intl.DateTimeFormat("en", { timeZone: "Europe/Berlin", hour: "numeric", hourCycle: "h23" });
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(2026, 0, 3), max: Date.UTC(2026, 11, 31) }), (atMs) => {
        // Eight hours by a stopwatch: within a night of the change they end at another hour.
        const changes = [Date.UTC(2026, 2, 29, 1), Date.UTC(2026, 9, 25, 1)];
        fc.pre(changes.every((change) => Math.abs(atMs - change) > 8 * HOUR));
        const hour = Number(hourIn.format(atMs));
        assert.equal(windowAt(nights, atMs) !== undefined, hour >= 22 || hour < 6, new Date(atMs).toISOString());
      }),
      { seed: 21, numRuns: 300 },
    );
    const bounded = { ...nights, startsAtMs: Date.UTC(2026, 0, 10), endsAtMs: Date.UTC(2026, 0, 12, 23) };
    assert.equal(windowAt(bounded, Date.UTC(2026, 0, 9, 23)), undefined);
    assert.deepEqual(latestWindow(bounded, Date.UTC(2026, 5, 1)), {
      fromMs: Date.UTC(2026, 0, 12, 21),
      toMs: Date.UTC(2026, 0, 12, 23),
    });
    const minutely = silence({ startsAtMs: 0, repeat: { cron: "*/5 * * * *", timezone: "UTC", lastsMs: MINUTE } });
    for (const minute of [0, 1, 4, 5, 6]) {
      const window = windowAt(minutely, START + minute * MINUTE + 1);
      assert.equal(window !== undefined, minute % 5 === 0, String(minute));
    }
    const yearly = silence({ startsAtMs: 0, repeat: { cron: "0 0 29 2 *", timezone: "UTC", lastsMs: DAY } });
    assert.deepEqual(latestWindow(yearly, START), { fromMs: Date.UTC(2024, 1, 29), toMs: Date.UTC(2024, 2, 1) });
  });
});

class Desk {
  nowMs = START;
  readonly alerts = new Map<string, KnownAlert>();
  readonly kept: Silence[] = [];
  /** Events that told an alert again. */
  readonly again: string[] = [];
  readonly told = new Set<string>();
  readonly ended: string[] = [];
  orphans: readonly string[] = [];
  #desk = this.#open();

  fire(name: string, key = "k"): void {
    const id = `alert/${name}/${key}/0-0`;
    const alert: Alert = { kind: "alert", name, key, severity: "warning", summary: "s", details: {} };
    const done = { acknowledged: undefined, resolved: undefined };
    this.alerts.set(id, { ...alert, ...done, id, state: "firing", atMs: this.nowMs, events: [`${id}/firing`] });
  }

  set(id: string, change: Partial<KnownAlert>): void {
    this.alerts.set(id, { ...this.alerts.get(id)!, ...change });
  }

  silence(name: string, hours: number) {
    const given = { actor: "ann", reason: "r", match: { name }, startsAtMs: this.nowMs, repeat: undefined };
    return this.#desk.silence({ ...given, endsAtMs: this.nowMs + hours * HOUR });
  }

  end(id: string) {
    return this.#desk.endSilence(id, "bob");
  }

  async at(ms: number): Promise<string[]> {
    this.nowMs = START + ms;
    const before = this.again.length;
    this.#desk.tick();
    await this.#desk.close();
    return this.again.slice(before);
  }

  restart(): void {
    this.#desk = this.#open();
  }

  #open(): AlertDesk {
    return new AlertDesk({
      alerts: {
        again: async (alerts) => {
          for (const { id, cause } of alerts) {
            const event = `${id}/firing/${cause}`;
            this.again.push(event);
            this.set(id, { events: [...this.alerts.get(id)!.events, event] });
          }
        },
        end: async (alerts) => {
          for (const { id } of alerts) this.ended.push(id);
        },
        record: async () => undefined,
        hold: async () => undefined,
      },
      records: {
        find: async (id) => this.alerts.get(id),
        open: async () => [...this.alerts.values()].filter(({ state }) => state !== "resolved"),
        list: async () => ({ alerts: [], next: undefined }),
      },
      silences: {
        all: async () => [...this.kept],
        created: async (one) => {
          this.kept.push(one);
        },
        ended: async (id, ended) => {
          const at = this.kept.findIndex((one) => one.id === id);
          this.kept[at] = { ...this.kept[at]!, ended };
        },
      },
      settled: () => true,
      orphaned: ({ id }) => (this.orphans.includes(id) ? "its definition is gone" : undefined),
      told: async ({ id }) => this.told.has(id),
      clock: () => this.nowMs,
      newId: () => `silence-${this.kept.length}`,
      report: (error) => assert.fail(String(error)),
    });
  }
}

describe("the end of a silence", () => {
  it("tells what still fires and was not told, once", async () => {
    const desk = new Desk();
    await desk.at(0);
    await desk.silence("over*", 1);
    for (const name of ["overheat", "overload", "overdue", "overtime", "other"]) desk.fire(name);
    desk.set("alert/overload/k/0-0", { state: "acknowledged" });
    desk.set("alert/overdue/k/0-0", { state: "resolved" });
    desk.told.add("alert/overtime/k/0-0");
    assert.deepEqual(await desk.at(59 * MINUTE), []);
    assert.deepEqual(await desk.at(HOUR), [`alert/overheat/k/0-0/firing/silence-0/${START + HOUR}`]);
    assert.deepEqual(await desk.at(2 * HOUR), []);
    desk.restart();
    assert.deepEqual(await desk.at(3 * HOUR), []);
  });

  it("tells nothing that another silence holds back, until that ends too", async () => {
    const desk = new Desk();
    await desk.silence("overheat", 1);
    const second = await desk.silence("*", 3);
    desk.fire("overheat");
    assert.deepEqual(await desk.at(HOUR), []);
    desk.nowMs = START + 2 * HOUR;
    assert.equal((await desk.end(second.id)).state, "over");
    assert.deepEqual(await desk.at(2 * HOUR), [`alert/overheat/k/0-0/firing/silence-1/${START + 2 * HOUR}`]);
  });

  it("is dealt with by the next life when it comes while there is none", async () => {
    const desk = new Desk();
    await desk.silence("*", 1);
    desk.fire("overheat");
    await desk.at(MINUTE);
    desk.restart();
    assert.equal((await desk.at(DAY)).length, 1);
  });

  it("is none of an alert's business that began after it", async () => {
    const desk = new Desk();
    await desk.silence("*", 1);
    desk.nowMs = START + HOUR;
    desk.fire("overheat");
    assert.deepEqual(await desk.at(HOUR + 1), []);
  });
});

describe("alerts that nobody looks after", () => {
  it("are ended at the start when their definition is gone", async () => {
    const desk = new Desk();
    desk.fire("old");
    desk.fire("kept");
    desk.orphans = ["alert/old/k/0-0"];
    await desk.at(0);
    await desk.at(1000);
    assert.deepEqual(desk.ended, ["alert/old/k/0-0"]);
  });

  it("are ended when their whole stream is silent for `resolveAfter`, once every event of it was judged", async () => {
    let nowMs = START;
    const lane = {
      operators: ["overheat"],
      stream: "telemetry",
      partition: 1,
      position: 10,
      pending: 3,
      problem: undefined as string | undefined,
    };
    const ended: string[] = [];
    const alert = (id: string, name = "overheat") =>
      ({ id, kind: "alert", name, details: { on: "telemetry", by: ["vehicle"] } }) as KnownAlert;
    const silent = new SilentStreams({
      alerts: [{ name: "overheat", stream: "telemetry", resolveAfterMs: 5 * MINUTE } as StreamAlert],
      lanes: () => [lane],
      newestMs: async () => START,
      open: async () => [
        alert("alert/overheat/17/1-4"),
        alert("alert/overheat/18/0-5"),
        alert("alert/other/17/1-4", "other"),
      ],
      end: async (alerts) => {
        ended.push(...alerts.map(({ id }) => id));
      },
      clock: () => nowMs,
      report: (error) => assert.fail(String(error)),
    });
    nowMs = START + 6 * MINUTE;
    await silent.tick();
    lane.pending = 0;
    lane.problem = "it stands still";
    await silent.tick();
    lane.problem = undefined;
    nowMs = START + 5 * MINUTE;
    await silent.tick();
    assert.deepEqual(ended, []);
    nowMs = START + 6 * MINUTE;
    await silent.tick();
    await silent.tick();
    assert.deepEqual(ended, ["alert/overheat/17/1-4"]);
  });
});
