/**
 * Judges what the platform has made of orders: echoes by a function with state and a feature, windows over them, and alerts with their
 * destination stream. What each must be is computed again here, in a plain way, from the obligations and from what was stored.
 */
import type { Findings, LedgerHop } from "./findings.ts";
import type { LakeReader } from "./lake-reader.ts";
import type { Obligation } from "./obligations.ts";
import { LARGE_CENTS, unechoed } from "./traffic.ts";

/** How many of each were expected, and looked for. */
export interface JudgedReactions {
  /** Events that the function emitted, each with its state and the feature's value. */
  readonly emitted: number;
  readonly deadLettered: number;
  readonly windows: number;
  readonly alerts: number;
}

interface Echo {
  readonly order_id: string;
  readonly lane: string;
  readonly n: number;
  readonly seen: number;
  readonly recent: number;
  readonly at: string;
}

type Emitted<Event> = Event & { readonly partition: number };

const HOUR_MS = 3_600_000;
/** As `echo_hours` is defined. */
const LATENESS_MS = 2 * HOUR_MS;

export async function judgeReactions(
  lake: LakeReader,
  orders: readonly Obligation[],
  ledger: readonly LedgerHop[],
  findings: Findings,
): Promise<JudgedReactions> {
  const echoes = await emitted<Echo>(lake, "bronze.echoes");
  const refused = await refusals(lake, orders, findings);
  judgeEchoes(echoes, orders, findings);
  findings.ledgerSays(ledger, "function.counting", { stored: orders.length - refused, deadLettered: refused });
  await judgeFeature(lake, echoes, findings);
  return {
    emitted: orders.length - refused,
    deadLettered: refused,
    windows: await judgeWindows(lake, echoes, findings),
    alerts: await judgeAlerts(lake, orders, findings),
  };
}

/** What was emitted to a stream, as it is in its bronze, in order. Nothing of it may be a duplicate of another. */
async function emitted<Event>(lake: LakeReader, bronze: string): Promise<Emitted<Event>[]> {
  await lake.view("emitted", bronze, "'' as payload, 0 as _partition, 0 as _offset");
  const rows = (await lake.rows("select payload, _partition::double from emitted order by _partition, _offset")) as [
    string,
    number,
  ][];
  return rows.map(([payload, partition]) => ({ ...(JSON.parse(payload) as Event), partition }));
}

/** Orders at which the function throws are dead letters, each once. */
async function refusals(lake: LakeReader, orders: readonly Obligation[], findings: Findings): Promise<number> {
  await lake.view("dead", "system.dead_letters", "'' as stage, '' as table_name, '' as payload");
  const rows = (await lake.rows("select payload from dead where stage = 'react' and table_name = 'counting'")) as [
    string,
  ][];
  const expected = new Set(orders.filter(({ n }) => unechoed(n)).map(({ id }) => id));
  const found = rows.map(([payload]) => orderOf(payload));
  findings.once("dead letters of the function", expected, found);
  return expected.size;
}

/** Of what is none, it is itself the name under which nobody expects it. */
function orderOf(payload: string): string {
  return (JSON.parse(payload) as Partial<Echo> | null)?.order_id ?? payload;
}

/** The function has taken each order once, in the order of its lane, with the state that the orders before have left. */
function judgeEchoes(echoes: readonly Echo[], orders: readonly Obligation[], findings: Findings): void {
  const expected = new Set(orders.filter(({ n }) => !unechoed(n)).map(({ id }) => id));
  findings.once(
    "echoes",
    expected,
    echoes.map(({ order_id }) => order_id),
  );
  const newest = new Map<string, number>();
  for (const { order_id, lane, n, seen } of echoes) {
    let before = 0; // orders of the lane that have changed the state
    for (let other = 0; other <= n; other++) if (!unechoed(other)) before++;
    if (seen !== before) findings.find("the state of a function is wrong", `${order_id}: ${seen} instead of ${before}`);
    if (n <= (newest.get(lane) ?? -1)) findings.find("echoes are out of order", order_id);
    newest.set(lane, n);
  }
}

/** The feature counts the lane's orders of the day up to each, those included at which the function throws. */
async function judgeFeature(lake: LakeReader, echoes: readonly Echo[], findings: Findings): Promise<void> {
  const none = "'' as payload, 0 as _offset, null::bigint as _duplicate_of";
  await lake.view("orders", "bronze.orders", none);
  const rows = (await lake.rows(
    `with o as (select payload->>'$.order_id' as id, payload->>'$.lane' as lane, _offset,
       cast(payload->>'$.placed_at' as timestamptz) as t from orders where _duplicate_of is null)
     select o.id, count(*)::double from o join o as x on x.lane = o.lane and x._offset <= o._offset
       and x.t > o.t - interval 1 day and x.t <= o.t group by o.id`,
  )) as [string, number][];
  const expected = new Map(rows);
  for (const { order_id, recent } of echoes) {
    const right = expected.get(order_id);
    if (recent !== right)
      findings.find("the value of a feature is wrong", `${order_id}: ${recent} instead of ${right}`);
  }
}

/** Each window that is over has one final result, which is what its echoes give; an echo that came after that is a dead letter. */
async function judgeWindows(lake: LakeReader, echoes: readonly Emitted<Echo>[], findings: Findings): Promise<number> {
  const windows = new Map<string, { end: number; echoes: Emitted<Echo>[] }>();
  const late: string[] = [];
  const watermarks = new Map<number, number>();
  for (const echo of echoes) {
    const start = Math.floor(Date.parse(echo.at) / HOUR_MS) * HOUR_MS;
    const watermark = watermarks.get(echo.partition) ?? 0;
    watermarks.set(echo.partition, Math.max(watermark, Date.parse(echo.at) - LATENESS_MS));
    const name = `${echo.lane} ${start}`;
    const window = windows.get(name) ?? { end: start + HOUR_MS, echoes: [] };
    if (window.end <= watermark) late.push(echo.order_id);
    else windows.set(name, { ...window, echoes: [...window.echoes, echo] });
  }
  const expected = new Map<string, string>();
  for (const [name, { end, echoes: within }] of windows) {
    const newest = within.reduce((last, echo) => (echo.at >= last.at ? echo : last));
    if (end > (watermarks.get(newest.partition) ?? 0)) continue;
    expected.set(name, `${within.length} ${within.reduce((sum, { seen }) => sum + seen, 0)} ${newest.order_id}`);
  }

  await lake.view("dead", "system.dead_letters", "'' as code, '' as payload");
  const dead = (await lake.rows("select payload from dead where code = 'EVENT_LATE'")) as [string][];
  const told = dead.map(([payload]) => orderOf(payload));
  findings.once("late echoes", new Set(late), told);

  type Result = { lane: string; window_start: string; orders: number; seen: number; newest: string; final: boolean };
  const results = (await emitted<Result>(lake, "bronze.echo_hours")).filter(({ final }) => final);
  const name = ({ lane, window_start }: Result) => `${lane} ${Date.parse(window_start)}`;
  findings.once("echo_hours", new Set(expected.keys()), results.map(name));
  for (const result of results) {
    const { orders, seen, newest } = result;
    const [shown, right] = [`${orders} ${seen} ${newest}`, expected.get(name(result))];
    if (right !== undefined && shown !== right)
      findings.find("echo_hours is not what its echoes give", `${name(result)}: ${shown} instead of ${right}`);
  }
  return expected.size;
}

/** Each large order has raised one alert, and the destination stream has each of those once. */
async function judgeAlerts(lake: LakeReader, orders: readonly Obligation[], findings: Findings): Promise<number> {
  await lake.view("told", "system.alert_events", "'' as name, '' as \"key\", '' as state");
  const rows = (await lake.rows(`select "key" || ' ' || state from told where name = 'large'`)) as [string][];
  const large = orders.filter(({ about }) => Number(about[1]) > LARGE_CENTS);
  const expected = new Set(large.map(({ lane, id }) => `${lane}/${id} firing`));
  findings.once(
    "system.alert_events",
    expected,
    rows.map(([change]) => change),
  );
  const told = await emitted<{ key: string; state: string }>(lake, "bronze.large_orders");
  findings.once(
    "the alerts' destination stream",
    expected,
    told.map(({ key, state }) => `${key} ${state}`),
  );
  return expected.size;
}
