/**
 * The judge: after the faults have healed and the platform has ended, the files on the disk must hold what was promised. It
 * reads tables without the platform, and knows what to expect from the obligations alone.
 */
import { LakeReader } from "./lake-reader.ts";
import { type Obligation, ObligationReader } from "./obligations.ts";
import { type StreamName, sha256 } from "./traffic.ts";

export interface Verdict {
  readonly acknowledged: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly violations: readonly string[];
}

interface Stored {
  readonly id: string;
  readonly sha: string;
  readonly partition: number;
  readonly offset: number;
  readonly duplicateOf: number | null;
}

export interface LedgerHop {
  readonly hop: string;
  readonly accepted: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly filtered: number;
  readonly deadLettered: number;
}

const STREAMS: readonly StreamName[] = ["orders", "payments", "stock_levels"];
/** More examples of one kind of violation say nothing new. */
const MOST_EXAMPLES = 5;
const HOUR_MS = 3_600_000;

export async function judge(dataDir: string, obligationsDir: string, ledger: readonly LedgerHop[]): Promise<Verdict> {
  const court = new Court(await LakeReader.open(dataDir), new ObligationReader(obligationsDir).readNew(), ledger);
  return court.sit();
}

class Court {
  readonly #lake: LakeReader;
  readonly #obligations: readonly Obligation[];
  readonly #ledger: readonly LedgerHop[];
  readonly #examples = new Map<string, string[]>();
  readonly #counts = new Map<string, number>();
  readonly #lost = new Set<string>();
  readonly #duplicated = new Set<string>();

  constructor(lake: LakeReader, obligations: readonly Obligation[], ledger: readonly LedgerHop[]) {
    this.#lake = lake;
    this.#obligations = obligations;
    this.#ledger = ledger;
  }

  async sit(): Promise<Verdict> {
    for (const stream of STREAMS) await this.#stream(stream);
    await this.#enriched();
    await this.#deadLetters();
    await this.#stock();
    await this.#gold();
    await this.#echoes();
    await this.#echoHours();
    await this.#alerts();
    this.#lake.close();
    const violations = [...this.#examples].map(([kind, examples]) => {
      const count = this.#counts.get(kind) ?? 0;
      return `${kind}: ${count}, for example ${examples.join("; ")}`;
    });
    return {
      acknowledged: this.#obligations.length,
      lost: this.#lost.size,
      duplicated: this.#duplicated.size,
      violations,
    };
  }

  #find(kind: string, example: string): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    const examples = this.#examples.get(kind) ?? [];
    if (examples.length < MOST_EXAMPLES) this.#examples.set(kind, [...examples, example]);
  }

  #of(stream: StreamName): Obligation[] {
    return this.#obligations.filter(({ s, fate }) => s === stream && fate !== "door");
  }

  /** Bronze: each event once as an original, byte for byte, where the answer said, in the order of its key. Silver: each once. */
  async #stream(stream: StreamName): Promise<void> {
    await this.#lake.view(
      "bronze",
      `bronze.${stream}`,
      "'' as _id, '' as payload, 0 as _partition, 0 as _offset, 0 as _duplicate_of",
    );
    const rows = (await this.#lake.rows(
      "select _id, payload, _partition::double, _offset::double, _duplicate_of::double from bronze order by _partition, _offset",
    )) as [string, string, number, number, number | null][];
    const byId = new Map<string, Stored[]>();
    const lastN = new Map<string, number>();
    const expected = new Map(this.#of(stream).map((obligation) => [obligation.id, obligation]));
    let next: [number, number] = [-1, 0];
    for (const [id, payload, partition, offset, duplicateOf] of rows) {
      next = partition === next[0] ? next : [partition, 0];
      if (offset !== next[1])
        this.#find(`bronze.${stream} skips or repeats offsets`, `${partition}/${offset} after ${next[1] - 1}`);
      next = [partition, offset + 1];
      byId.set(id, [...(byId.get(id) ?? []), { id, sha: sha256(payload), partition, offset, duplicateOf }]);
      const obligation = expected.get(id);
      if (!obligation) this.#find(`bronze.${stream} holds what nobody sent`, id);
      if (!obligation || duplicateOf !== null) continue;
      const key = stream === "stock_levels" ? String(obligation.about[0]) : obligation.lane;
      if ((lastN.get(key) ?? -1) >= obligation.n)
        this.#find(`bronze.${stream} is out of order`, `${id} at ${partition}/${offset}`);
      lastN.set(key, obligation.n);
    }
    for (const obligation of expected.values()) this.#event(stream, obligation, byId.get(obligation.id) ?? []);
    await this.#once(`silver.${stream}`, `select _id from silver`, new Set(expected.keys()));
    const duplicates = rows.filter((row) => row[4] !== null).length;
    this.#ledgerSays(`bronze.${stream}`, {
      accepted: rows.length,
      stored: rows.length,
      duplicate: 0,
      filtered: 0,
      deadLettered: 0,
    });
    this.#ledgerSays(`silver.${stream}`, {
      accepted: rows.length,
      stored: expected.size,
      duplicate: duplicates,
      filtered: 0,
      deadLettered: 0,
    });
  }

  #event(stream: StreamName, { id, sha, in: ranges }: Obligation, rows: readonly Stored[]): void {
    const originals = rows.filter((row) => row.duplicateOf === null);
    const [original] = originals;
    if (!original) {
      this.#lost.add(`${stream} ${id}`);
      this.#find(`bronze.${stream} lacks`, id);
      return;
    }
    if (originals.length > 1) {
      this.#duplicated.add(`${stream} ${id}`);
      this.#find(
        `bronze.${stream} repeats`,
        `${id} at ${originals.map((o) => `${o.partition}/${o.offset}`).join(", ")}`,
      );
    }
    for (const row of rows) {
      if (row.sha !== sha)
        this.#find(`bronze.${stream} has another payload`, `${id} at ${row.partition}/${row.offset}`);
      if (row.duplicateOf !== null && row.duplicateOf !== original.offset) {
        this.#find(
          `bronze.${stream} names another original`,
          `${id} at ${row.partition}/${row.offset}: ${row.duplicateOf}`,
        );
      }
    }
    const where = rows.some((row) =>
      ranges.some(([p, from, to]) => row.partition === p && row.offset >= from && row.offset <= to),
    );
    if (!where)
      this.#find(`bronze.${stream} lacks the offset of an answer`, `${id}, answered ${JSON.stringify(ranges)}`);
  }

  /** Exactly these events have a row, and each only one. */
  async #once(table: string, sql: string, expected: ReadonlySet<string>): Promise<void> {
    await this.#lake.view("silver", table, "'' as _id, '' as order_id");
    const seen = new Set<string>();
    for (const [id] of (await this.#lake.rows(sql)) as [string][]) {
      if (seen.has(id)) {
        this.#duplicated.add(`${table} ${id}`);
        this.#find(`${table} repeats`, id);
      }
      if (!expected.has(id)) this.#find(`${table} holds what it must not`, id);
      seen.add(id);
    }
    for (const id of expected) {
      if (seen.has(id)) continue;
      this.#lost.add(`${table} ${id}`);
      this.#find(`${table} lacks`, id);
    }
  }

  async #enriched(): Promise<void> {
    const orders = this.#of("orders");
    const stored = orders.filter(({ fate }) => fate === "stored");
    await this.#once("silver.enriched", "select order_id from silver", new Set(stored.map(({ id }) => id)));
    const [wrong = []] = await this.#lake.rows("select count(*)::double from silver where amount_eur is null");
    if (Number(wrong[0]) > 0) this.#find("silver.enriched lacks a look-up that was there first", `${wrong[0]} rows`);
    this.#ledgerSays("silver.enriched", {
      stored: stored.length,
      filtered: orders.filter(({ fate }) => fate === "filtered").length,
      deadLettered: orders.filter(({ fate }) => fate === "check" || fate === "transform").length,
    });
  }

  /** What could not go on is there with its payload: once for a table, at least once for the door, which counts each try. */
  async #deadLetters(): Promise<void> {
    await this.#lake.view("dead", "system.dead_letters", "'' as stage, '' as payload, '' as table_name");
    const found = new Map<string, number>();
    for (const [stage, payload] of (await this.#lake.rows("select stage, payload from dead")) as [string, string][]) {
      const key = `${stage} ${sha256(payload)}`;
      found.set(key, (found.get(key) ?? 0) + 1);
    }
    for (const { id, fate, sha } of this.#obligations) {
      if (fate === "stored" || fate === "filtered") continue;
      const count = found.get(`${fate} ${sha}`) ?? 0;
      if (count === 0) {
        this.#lost.add(`dead letter ${id}`);
        this.#find("system.dead_letters lacks", `${id} (${fate})`);
      } else if (count > 1 && fate !== "door") {
        this.#duplicated.add(`dead letter ${id}`);
        this.#find("system.dead_letters repeats", `${id} (${fate})`);
      }
    }
  }

  async #stock(): Promise<void> {
    const newest = new Map<string, number>();
    for (const { about, n } of this.#of("stock_levels"))
      newest.set(String(about[0]), Math.max(n, newest.get(String(about[0])) ?? -1));
    await this.#lake.view("stock", "silver.stock", "'' as sku, 0 as n");
    const rows = (await this.#lake.rows("select sku, n::double from stock")) as [string, number][];
    const shown = new Map(rows);
    if (rows.length !== shown.size)
      this.#find("silver.stock repeats keys", `${rows.length} rows of ${shown.size} keys`);
    for (const [sku, n] of newest) {
      if (shown.get(sku) !== n)
        this.#find("silver.stock is not the newest", `${sku}: ${shown.get(sku)} instead of ${n}`);
    }
  }

  /** What is stored equals a full recompute over silver, and what the obligations add up to. */
  async #gold(): Promise<void> {
    await this.#lake.view(
      "silver",
      "silver.enriched",
      "null::timestamptz as placed_at, '' as country, 0 as amount, 0 as n",
    );
    await this.#lake.view("daily", "gold.daily", "null::date as day, '' as country, 0 as orders, 0 as revenue");
    await this.#lake.view("totals", "gold.totals", "0 as orders, 0 as revenue, 0 as newest");
    const columns = "day::varchar, country, orders::double, revenue::varchar";
    const computed = await this.#lake.rows(
      `select ${columns} from (select date(placed_at) as day, country, count(*) as orders, sum(amount) as revenue
       from silver group by all) order by 1, 2`,
    );
    const stored = await this.#lake.rows(`select ${columns} from daily order by 1, 2`);
    if (JSON.stringify(stored) !== JSON.stringify(computed)) {
      this.#find(
        "gold.daily is not what its SQL gives",
        `${JSON.stringify(stored)} instead of ${JSON.stringify(computed)}`,
      );
    }
    const sums = new Map<string, { orders: number; cents: number }>();
    let cents = 0;
    for (const { fate, about } of this.#of("orders")) {
      if (fate !== "stored") continue;
      const key = `${about[0]} ${about[2]}`;
      const sum = sums.get(key) ?? { orders: 0, cents: 0 };
      sums.set(key, { orders: sum.orders + 1, cents: sum.cents + Number(about[1]) });
      cents += Number(about[1]);
    }
    const expected = [...sums]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, { orders, cents }]) => [...key.split(" "), orders, (cents / 100).toFixed(2)]);
    if (JSON.stringify(stored) !== JSON.stringify(expected)) {
      this.#find(
        "gold.daily is not what was promised",
        `${JSON.stringify(stored)} instead of ${JSON.stringify(expected)}`,
      );
    }
    const [total] = await this.#lake.rows("select orders::double, revenue::varchar from totals");
    const promised = [this.#of("orders").filter(({ fate }) => fate === "stored").length, (cents / 100).toFixed(2)];
    if (JSON.stringify(total) !== JSON.stringify(promised) && promised[0] !== 0) {
      this.#find(
        "gold.totals is not what was promised",
        `${JSON.stringify(total)} instead of ${JSON.stringify(promised)}`,
      );
    }
  }

  /** The function has taken each order once, in the order of its lane, with the state that the orders before have left. */
  async #echoes(): Promise<void> {
    const echoes = await this.#emitted<{ order_id: string; n: number; seen: number }>("bronze.echoes");
    const expected = new Map(this.#of("orders").map((order) => [order.id, order]));
    const seen = new Set<string>();
    for (const echo of echoes) {
      const { order_id, n } = echo;
      if (seen.has(order_id)) {
        this.#duplicated.add(`echo ${order_id}`);
        this.#find("echoes repeats", order_id);
      }
      seen.add(order_id);
      if (!expected.has(order_id)) this.#find("echoes holds what nobody sent", order_id);
      if (echo.seen !== n + 1) this.#find("the state of a function is wrong", `${order_id}: ${echo.seen} seen`);
    }
    for (const id of expected.keys()) {
      if (seen.has(id)) continue;
      this.#lost.add(`echo ${id}`);
      this.#find("echoes lacks", id);
    }
    this.#ledgerSays("function.counting", { stored: expected.size, deadLettered: 0 });
  }

  /** Each window that is over has one final result, which is what its echoes give. Those that came too late are dead letters. */
  async #echoHours(): Promise<void> {
    type Echo = { order_id: string; lane: string; seen: number; at: string };
    await this.#lake.view("dead", "system.dead_letters", "'' as code, '' as payload");
    const dead = (await this.#lake.rows("select payload from dead where code = 'EVENT_LATE'")) as [string][];
    const late = new Set(dead.map(([payload]) => (JSON.parse(payload) as Echo).order_id));
    const echoes = await this.#emitted<Echo>("bronze.echoes");
    const watermark = Math.max(0, ...echoes.map(({ at }) => Date.parse(at))) - 12 * HOUR_MS;
    const windows = Map.groupBy(
      echoes.filter(({ order_id }) => !late.has(order_id)),
      ({ lane, at }) => `${lane} ${Math.floor(Date.parse(at) / HOUR_MS) * HOUR_MS}`,
    );
    const expected = new Map<string, string>();
    for (const [window, rows] of windows) {
      if (Number(window.split(" ").at(-1)) + HOUR_MS > watermark) continue;
      const newest = rows.reduce((last, row) => (row.at >= last.at ? row : last));
      expected.set(window, `${rows.length} ${rows.reduce((sum, { seen }) => sum + seen, 0)} ${newest.order_id}`);
    }
    type Result = { lane: string; window_start: string; orders: number; seen: number; newest: string; final: boolean };
    const results = (await this.#emitted<Result>("bronze.echo_hours")).filter(({ final }) => final);
    const shown = new Map<string, string>();
    for (const { lane, window_start, orders, seen, newest } of results) {
      const window = `${lane} ${Date.parse(window_start)}`;
      if (shown.has(window)) {
        this.#duplicated.add(`window ${window}`);
        this.#find("echo_hours repeats a final result", window);
      }
      shown.set(window, `${orders} ${seen} ${newest}`);
      if (!expected.has(window)) this.#find("echo_hours holds what it must not", window);
    }
    for (const [window, result] of expected) {
      if (!shown.has(window)) this.#lost.add(`window ${window}`);
      if (shown.get(window) !== result)
        this.#find("echo_hours is not what its echoes give", `${window}: ${shown.get(window)} instead of ${result}`);
    }
  }

  /** One alert for each large order. */
  async #alerts(): Promise<void> {
    await this.#lake.view("told", "system.alert_events", "'' as name, '' as \"key\", '' as state");
    const told = (await this.#lake.rows(`select "key" from told where name = 'large' and state = 'firing'`)) as [
      string,
    ][];
    const expected = this.#of("orders").filter(({ about }) => Number(about[1]) > 99_000);
    const keys = new Set(told.map(([key]) => key));
    if (keys.size !== told.length) {
      this.#duplicated.add("alerts");
      this.#find("system.alert_events repeats", `${told.length} of ${keys.size}`);
    }
    for (const { id, lane } of expected) {
      if (keys.has(`${lane}/${id}`)) continue;
      this.#lost.add(`alert ${id}`);
      this.#find("system.alert_events lacks", id);
    }
    if (keys.size > expected.length) this.#find("system.alert_events holds too many", `${keys.size - expected.length}`);
  }

  /** What was emitted to a stream, as it is in its bronze, in order. Nothing of it may be a duplicate of another. */
  async #emitted<Event>(bronze: string): Promise<Event[]> {
    await this.#lake.view("emitted", bronze, "'' as payload, 0 as _partition, 0 as _offset");
    const rows = (await this.#lake.rows("select payload from emitted order by _partition, _offset")) as [string][];
    return rows.map(([payload]) => JSON.parse(payload) as Event);
  }

  /** The ledger's counts are what the tables and the obligations say. */
  #ledgerSays(hop: string, expected: Partial<LedgerHop>): void {
    const entry = this.#ledger.find((other) => other.hop === hop);
    for (const [name, count] of Object.entries(expected)) {
      const said = entry?.[name as keyof LedgerHop];
      if (said !== count) this.#find("the ledger is wrong", `${hop}: ${name} is ${said}, there are ${count}`);
    }
  }
}
