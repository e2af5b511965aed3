/** What alerts over tables make of the rows that their SQL gives, by a clock moved by hand, with a log and files that outlive them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { alert, type TableAlertOptions } from "../../src/define/alert.ts";
import type { Alert } from "../../src/define/alert-event.ts";
import type { TableAlert } from "../../src/define/bind-alerts.ts";
import { threshold, zscore } from "../../src/define/conditions.ts";
import { readAlert } from "../../src/define/read-alert.ts";
import { cron } from "../../src/define/triggers.ts";
import { MillraceError } from "../../src/errors.ts";
import type { Standing } from "../../src/flow/alerts.ts";
import type { Row } from "../../src/react/alerts/judgement.ts";
import type { Memory } from "../../src/react/alerts/table-alert.ts";
import { ALERT_FAILED, TableAlerts } from "../../src/react/alerts/table-alerts.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const START = Date.UTC(2026, 0, 5, 12);

async function tableAlert(
  name: string,
  options: Omit<TableAlertOptions, "sql"> = {},
  inputs = ["silver.orders"],
): Promise<TableAlert> {
  const draft = await readAlert(alert(name, { sql: "select …", ...options }), "shop.ts");
  assert.ok("name" in draft, JSON.stringify(draft));
  const { over, ...rules } = draft;
  assert.ok("sql" in over);
  return { ...rules, ...over, over: "table", inputs };
}

/** A platform's log, disk and clock, over which alerts live again and again. */
class World {
  nowMs = START;
  rows: readonly Row[] = [];
  failing: Error | undefined;
  asked = 0;
  readonly told: string[] = [];
  readonly firing = new Map<string, Map<string, Alert>>();
  readonly held = new Set<string>();
  readonly resolvedByHand = new Set<string>();
  readonly files = new Map<string, string>();
  /** Fails the next time, as a process that dies there; `telling`: of what fails. */
  dies: "writing" | "settling" | "telling" | undefined;
  readonly reported: string[] = [];
  readonly #alerts: readonly TableAlert[];
  #life: TableAlerts | undefined;

  constructor(...alerts: readonly TableAlert[]) {
    this.#alerts = alerts;
  }

  async live<T>(work: () => Promise<T>): Promise<T> {
    this.#life = new TableAlerts({
      alerts: this.#alerts,
      clock: () => this.nowMs,
      report: (error, what) => this.reported.push(`${what}: ${(error as Error).message}`),
      query: async () => {
        this.asked++;
        if (this.failing !== undefined) throw this.failing;
        return { columns: Object.keys(this.rows[0] ?? {}), rows: this.rows };
      },
      memory: {
        open: async () => undefined,
        read: async (name) => {
          const text = this.files.get(name);
          return text === undefined ? undefined : (JSON.parse(text) as Memory);
        },
        write: async (name, memory) => {
          this.#die("writing");
          this.files.set(name, JSON.stringify(memory));
        },
      },
      settled: {
        standing: async (_, name): Promise<Standing> => ({
          firing: new Map(this.#firing(name)),
          resolvedByHand: this.resolvedByHand,
        }),
        hold: async (_, name, key) => {
          this.held.add(`${name}/${key}`);
        },
        settle: async (_, name, now, { resolve = true } = {}) => {
          this.#die("settling");
          if (name === ALERT_FAILED) this.#die("telling");
          const firing = this.#firing(name);
          for (const one of now) {
            const known = firing.has(one.key);
            firing.set(one.key, one);
            if (known) continue;
            this.told.push(`${name}/${one.key} firing`);
          }
          if (!resolve) return;
          for (const key of [...firing.keys()].filter((key) => !now.some((one) => one.key === key))) {
            firing.delete(key);
            this.told.push(`${name}/${key} resolved`);
          }
        },
      },
    });
    this.#life.start();
    try {
      return await work();
    } finally {
      await this.#life.close();
    }
  }

  /** Gives rows at a moment and waits until they were asked for, or were not. */
  async at(
    ms: number,
    rows: readonly Row[] = this.rows,
    commits: readonly string[] = ["silver.orders"],
  ): Promise<string[]> {
    this.nowMs = START + ms;
    this.rows = rows;
    const before = this.told.length;
    for (const table of commits) this.#life!.committed(table);
    this.nowMs += 400;
    await this.#life!.quiet();
    // Two are asked at once; what an answer makes due is asked as well.
    for (let round = 0; round < 3; round++) {
      this.#life!.tick();
      await this.#life!.quiet();
    }
    return this.told.slice(before);
  }

  #firing(name: string): Map<string, Alert> {
    const firing = this.firing.get(name) ?? new Map<string, Alert>();
    this.firing.set(name, firing);
    return firing;
  }

  #die(where: "writing" | "settling" | "telling"): void {
    if (this.dies !== where) return;
    this.dies = undefined;
    throw new Error(`died while ${where}`);
  }
}

describe("an alert over tables", () => {
  it("is raised for each key that its SQL gives, and resolved when it gives it no more", async () => {
    const world = new World(await tableAlert("late", { summary: "order {key} is {minutes} minutes late" }));
    await world.live(async () => {
      assert.deepEqual(await world.at(0, []), []);
      assert.deepEqual(
        await world.at(SECOND, [
          { key: "a", minutes: 5 },
          { key: "b", minutes: 7 },
        ]),
        ["late/a firing", "late/b firing"],
      );
      assert.equal(world.firing.get("late")?.get("a")?.summary, "order a is 5 minutes late");
      assert.deepEqual(world.firing.get("late")?.get("a")?.details, {
        ...{ reason: null, over: ["silver.orders"], rows: 1, row: { key: "a", minutes: 5 } },
      });
      assert.deepEqual(await world.at(2 * SECOND, [{ key: "b", minutes: 8 }]), ["late/a resolved"]);
      assert.equal(world.asked, 3);
      assert.deepEqual(await world.at(3 * SECOND, [], ["silver.customers"]), []);
      assert.equal(world.asked, 3);
    });
  });

  it("is asked once for commits that come together, and for those of a stream by its bronze", async () => {
    const world = new World(await tableAlert("late", {}, ["orders"]));
    await world.live(async () => {
      await world.at(0, []);
      await world.at(SECOND, [], ["bronze.orders", "bronze.orders", "silver.orders"]);
      assert.equal(world.asked, 2);
    });
  });

  it("holds for `for` and cools down by the clock, also when nothing is committed and through restarts", async () => {
    const world = new World(await tableAlert("late", { for: "5m", coolDown: "10m" }));
    const row = [{ key: "a" }];
    await world.live(() => world.at(0, row));
    await world.live(async () => {
      assert.deepEqual(await world.at(4 * MINUTE, row, []), []);
      assert.deepEqual(await world.at(5 * MINUTE + SECOND, row, []), ["late/a firing"]);
      assert.deepEqual(await world.at(6 * MINUTE, []), ["late/a resolved"]);
    });
    await world.live(async () => {
      assert.deepEqual(await world.at(8 * MINUTE, row), []);
      assert.deepEqual(await world.at(15 * MINUTE, row), []);
      assert.deepEqual(await world.at(16 * MINUTE + SECOND, row, []), ["late/a firing"]);
    });
  });

  it("takes `when`, `until`, severity and the speaker among several rows of a key", async () => {
    const world = new World(
      await tableAlert("stock", {
        when: threshold("left", { below: 5 }),
        until: threshold("left", { above: 9 }),
        key: ["shop", "item"],
      }),
    );
    const at = (seconds: number, ...left: number[]) =>
      world.at(
        seconds * SECOND,
        left.map((one) => ({ shop: "x", item: 7, left: one, severity: one < 2 ? "critical" : "info" })),
      );
    await world.live(async () => {
      assert.deepEqual(await at(0, 8), []);
      assert.deepEqual(await at(1, 8, 1), ["stock/x/7 firing"]);
      assert.equal(world.firing.get("stock")?.get("x/7")?.severity, "critical");
      assert.equal(world.firing.get("stock")?.get("x/7")?.summary, "x/7: left is 1, below 5");
      assert.deepEqual([...(await at(2, 6)), ...(await at(3, 9))], []);
      assert.deepEqual(await at(4, 10), ["stock/x/7 resolved"]);
    });
  });

  it("is as grave as its gravest row was", async () => {
    const world = new World(await tableAlert("stock"));
    const severity = () => world.firing.get("stock")?.get("a")?.severity;
    await world.live(async () => {
      await world.at(0, [{ key: "a", severity: "info" }]);
      assert.equal(severity(), "info");
      await world.at(SECOND, [{ key: "a", severity: "critical" }]);
      assert.equal(severity(), "critical");
      await world.at(2 * SECOND, [{ key: "a", severity: "warning" }]);
      assert.equal(severity(), "critical");
    });
  });

  it("enters a row into its history once, by its time, however often the SQL gives it", async () => {
    const world = new World(
      await tableAlert("revenue", { when: zscore("sum", { atLeast: 5 }), time: "day", key: "shop" }),
    );
    const days = (...sums: number[]) => sums.map((sum, i) => ({ shop: "x", day: `2026-01-0${i + 1}`, sum }));
    await world.live(async () => {
      for (let i = 0; i < 4; i++) assert.deepEqual(await world.at(i * SECOND, days(10, 12, 11, 9, 10, 11)), []);
      // The newest day is judged again while it grows, against the days before it.
      assert.deepEqual(await world.at(5 * SECOND, days(10, 12, 11, 9, 10, 11, 40)), ["revenue/x firing"]);
      const { reason } = (world.firing.get("revenue")?.get("x")?.details ?? {}) as {
        reason?: { samples: number; expected: number };
      };
      assert.deepEqual([reason?.samples, reason?.expected], [6, 10.5]);
      assert.deepEqual(await world.at(6 * SECOND, days(10, 12, 11, 9, 10, 11, 12)), ["revenue/x resolved"]);
    });
  });

  it("runs by a period or by moments of a cron expression, and at the start", async () => {
    const world = new World(
      await tableAlert("often", { every: "10s" }),
      await tableAlert("hourly", { every: cron("0 * * * *") }),
    );
    await world.live(async () => {
      await world.at(0, []);
      assert.equal(world.asked, 2);
      await world.at(9 * SECOND, []);
      assert.equal(world.asked, 2);
      await world.at(11 * SECOND, []);
      assert.equal(world.asked, 3);
      await world.at(60 * MINUTE, []);
      assert.equal(world.asked, 5);
      // A clock that is set back by a day holds nothing up.
      await world.at(-24 * 60 * MINUTE, []);
      await world.at(-24 * 60 * MINUTE + 11 * SECOND, []);
      assert.equal(world.asked, 6);
    });
  });

  it("is an alert itself while its SQL fails, keeps what fires, and is tried again", async () => {
    const world = new World(await tableAlert("late"), await tableAlert("other", {}, ["silver.other"]));
    await world.live(async () => {
      await world.at(0, [{ key: "a" }]);
      world.failing = new MillraceError("SQL_FAILED", { reason: "no such thing", place: "" });
      assert.deepEqual(await world.at(SECOND, []), ["alert_failed/late firing"]);
      const failed = world.firing.get("alert_failed")?.get("late");
      assert.equal(failed?.severity, "critical");
      assert.match(failed?.summary ?? "", /^The alert "late" cannot be asked for: .*no such thing/);
      assert.deepEqual([...world.firing.get("late")!.keys()], ["a"]);
      assert.equal(world.reported.length, 1);
      world.failing = undefined;
      assert.deepEqual(await world.at(7 * SECOND, [], []), ["late/a resolved", "alert_failed/late resolved"]);
    });
  });

  it("tells that its SQL works again, though that could not be told at first and nothing is committed any more", async () => {
    const world = new World(await tableAlert("late"));
    await world.live(async () => {
      world.failing = new MillraceError("SQL_FAILED", { reason: "no such thing", place: "" });
      assert.deepEqual(await world.at(0, []), ["alert_failed/late firing"]);
      world.failing = undefined;
      world.dies = "telling";
      const { asked } = world;
      assert.deepEqual(await world.at(MINUTE, []), []);
      assert.equal(world.asked, asked + 1);
      const reports = world.reported.length;
      assert.deepEqual(await world.at(MINUTE + 2 * SECOND, [], []), [], "the log is not pressed");
      world.dies = "telling";
      assert.deepEqual(await world.at(MINUTE + 7 * SECOND, [], []), []);
      assert.equal(world.reported.length, reports + 1);
      assert.deepEqual(await world.at(MINUTE + 30 * SECOND, [], []), ["alert_failed/late resolved"]);
      assert.equal(world.asked, asked + 1);
    });
  });

  it("waits for a table that is being built, which is no failure", async () => {
    const world = new World(await tableAlert("late"));
    await world.live(async () => {
      world.failing = new MillraceError("TABLE_BUILDING", {
        table: "silver.orders",
        reason: "it is new",
        events: 1,
        total: 2,
      });
      assert.deepEqual(await world.at(0, [{ key: "a" }]), []);
      world.failing = undefined;
      assert.deepEqual(await world.at(6 * SECOND, [{ key: "a" }], []), ["late/a firing"]);
    });
  });

  it("tells none twice and loses none, wherever a life ends", async () => {
    for (const dies of ["writing", "settling"] as const) {
      const world = new World(await tableAlert("late"));
      await world.live(async () => {
        await world.at(0, []);
        world.dies = dies;
        await world.at(SECOND, [{ key: "a" }, { key: "b" }]);
      });
      const told = world.told.filter((one) => !one.startsWith("alert_failed"));
      assert.deepEqual(told, [], dies);
      // Meanwhile one of the two is over: it was found and remembered, or was not found.
      await world.live(async () => {
        await world.at(2 * SECOND, [{ key: "b" }]);
      });
      await world.live(() => world.at(3 * SECOND, [{ key: "b" }]));
      const all = world.told.filter((one) => !one.startsWith("alert_failed"));
      const expected = ["late/a firing", "late/b firing", "late/a resolved"];
      assert.deepEqual(all, dies === "settling" ? expected : ["late/b firing"], dies);
    }
  });

  it("goes on with what fires when its file is lost, and holds what was resolved by hand", async () => {
    const world = new World(await tableAlert("late", { for: "1h" }));
    await world.live(async () => {
      await world.at(0, [{ key: "a" }]);
      await world.at(61 * MINUTE, [{ key: "a" }]);
    });
    assert.deepEqual(world.told, ["late/a firing"]);
    world.files.clear();
    await world.live(async () => {
      assert.deepEqual(await world.at(62 * MINUTE, [{ key: "a" }]), []);
    });
    world.resolvedByHand.add("a");
    await world.live(() => world.at(63 * MINUTE, [{ key: "a" }]));
    assert.deepEqual([...world.held], ["late/a"]);
  });
});
