/**
 * The judge: after the faults have healed and the platform has ended, the files on the disk must hold what was promised. It
 * reads tables without the platform, and knows what to expect from the obligations alone.
 */
import { Findings, type LedgerHop } from "./findings.ts";
import { type JudgedReactions, judgeReactions } from "./judge-reactions.ts";
import { LakeReader } from "./lake-reader.ts";
import { type Obligation, ObligationReader } from "./obligations.ts";
import { type StreamName, sha256 } from "./traffic.ts";

export interface Verdict {
  readonly acknowledged: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reactions: JudgedReactions;
  readonly violations: readonly string[];
}

interface Stored {
  readonly id: string;
  readonly sha: string;
  readonly partition: number;
  readonly offset: number;
  readonly duplicateOf: number | null;
}

const STREAMS: readonly StreamName[] = ["orders", "payments", "stock_levels"];

export async function judge(dataDir: string, obligationsDir: string, ledger: readonly LedgerHop[]): Promise<Verdict> {
  const court = new Court(await LakeReader.open(dataDir), new ObligationReader(obligationsDir).readNew(), ledger);
  return court.sit();
}

class Court {
  readonly #lake: LakeReader;
  readonly #obligations: readonly Obligation[];
  readonly #ledger: readonly LedgerHop[];
  readonly #findings = new Findings();

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
    const reactions = await judgeReactions(this.#lake, this.#of("orders"), this.#ledger, this.#findings);
    this.#lake.close();
    const { lost, duplicated, violations } = this.#findings;
    return {
      acknowledged: this.#obligations.length,
      lost: lost.size,
      duplicated: duplicated.size,
      reactions,
      violations,
    };
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
        this.#findings.find(`bronze.${stream} skips or repeats offsets`, `${partition}/${offset} after ${next[1] - 1}`);
      next = [partition, offset + 1];
      byId.set(id, [...(byId.get(id) ?? []), { id, sha: sha256(payload), partition, offset, duplicateOf }]);
      const obligation = expected.get(id);
      if (!obligation) this.#findings.find(`bronze.${stream} holds what nobody sent`, id);
      if (!obligation || duplicateOf !== null) continue;
      const key = stream === "stock_levels" ? String(obligation.about[0]) : obligation.lane;
      if ((lastN.get(key) ?? -1) >= obligation.n)
        this.#findings.find(`bronze.${stream} is out of order`, `${id} at ${partition}/${offset}`);
      lastN.set(key, obligation.n);
    }
    for (const obligation of expected.values()) this.#event(stream, obligation, byId.get(obligation.id) ?? []);
    await this.#once(`silver.${stream}`, `select _id from silver`, new Set(expected.keys()));
    const duplicates = rows.filter((row) => row[4] !== null).length;
    this.#findings.ledgerSays(this.#ledger, `bronze.${stream}`, {
      accepted: rows.length,
      stored: rows.length,
      duplicate: 0,
      filtered: 0,
      deadLettered: 0,
    });
    this.#findings.ledgerSays(this.#ledger, `silver.${stream}`, {
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
      this.#findings.lost.add(`${stream} ${id}`);
      this.#findings.find(`bronze.${stream} lacks`, id);
      return;
    }
    if (originals.length > 1) {
      this.#findings.duplicated.add(`${stream} ${id}`);
      this.#findings.find(
        `bronze.${stream} repeats`,
        `${id} at ${originals.map((o) => `${o.partition}/${o.offset}`).join(", ")}`,
      );
    }
    for (const row of rows) {
      if (row.sha !== sha)
        this.#findings.find(`bronze.${stream} has another payload`, `${id} at ${row.partition}/${row.offset}`);
      if (row.duplicateOf !== null && row.duplicateOf !== original.offset) {
        this.#findings.find(
          `bronze.${stream} names another original`,
          `${id} at ${row.partition}/${row.offset}: ${row.duplicateOf}`,
        );
      }
    }
    const where = rows.some((row) =>
      ranges.some(([p, from, to]) => row.partition === p && row.offset >= from && row.offset <= to),
    );
    if (!where)
      this.#findings.find(
        `bronze.${stream} lacks the offset of an answer`,
        `${id}, answered ${JSON.stringify(ranges)}`,
      );
  }

  /** Exactly these events have a row, and each only one. */
  async #once(table: string, sql: string, expected: ReadonlySet<string>): Promise<void> {
    await this.#lake.view("silver", table, "'' as _id, '' as order_id");
    const seen = new Set<string>();
    for (const [id] of (await this.#lake.rows(sql)) as [string][]) {
      if (seen.has(id)) {
        this.#findings.duplicated.add(`${table} ${id}`);
        this.#findings.find(`${table} repeats`, id);
      }
      if (!expected.has(id)) this.#findings.find(`${table} holds what it must not`, id);
      seen.add(id);
    }
    for (const id of expected) {
      if (seen.has(id)) continue;
      this.#findings.lost.add(`${table} ${id}`);
      this.#findings.find(`${table} lacks`, id);
    }
  }

  async #enriched(): Promise<void> {
    const orders = this.#of("orders");
    const stored = orders.filter(({ fate }) => fate === "stored");
    await this.#once("silver.enriched", "select order_id from silver", new Set(stored.map(({ id }) => id)));
    const [wrong = []] = await this.#lake.rows("select count(*)::double from silver where amount_eur is null");
    if (Number(wrong[0]) > 0)
      this.#findings.find("silver.enriched lacks a look-up that was there first", `${wrong[0]} rows`);
    this.#findings.ledgerSays(this.#ledger, "silver.enriched", {
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
        this.#findings.lost.add(`dead letter ${id}`);
        this.#findings.find("system.dead_letters lacks", `${id} (${fate})`);
      } else if (count > 1 && fate !== "door") {
        this.#findings.duplicated.add(`dead letter ${id}`);
        this.#findings.find("system.dead_letters repeats", `${id} (${fate})`);
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
      this.#findings.find("silver.stock repeats keys", `${rows.length} rows of ${shown.size} keys`);
    for (const [sku, n] of newest) {
      if (shown.get(sku) !== n)
        this.#findings.find("silver.stock is not the newest", `${sku}: ${shown.get(sku)} instead of ${n}`);
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
      this.#findings.find(
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
      this.#findings.find(
        "gold.daily is not what was promised",
        `${JSON.stringify(stored)} instead of ${JSON.stringify(expected)}`,
      );
    }
    const [total] = await this.#lake.rows("select orders::double, revenue::varchar from totals");
    const promised = [this.#of("orders").filter(({ fate }) => fate === "stored").length, (cents / 100).toFixed(2)];
    if (JSON.stringify(total) !== JSON.stringify(promised) && promised[0] !== 0) {
      this.#findings.find(
        "gold.totals is not what was promised",
        `${JSON.stringify(total)} instead of ${JSON.stringify(promised)}`,
      );
    }
  }
}
