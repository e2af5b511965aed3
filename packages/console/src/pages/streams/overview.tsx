/** What comes into a stream, from whom, and what of it is refused: now and over time. */
import { Link, useSearchParams } from "wouter";
import { api, type StreamView } from "../../api.ts";
import { compact, count, duration, rate } from "../../format.ts";
import { useNode } from "../../live.ts";
import { type Loaded, useLoad } from "../../load.ts";
import { TimeBars } from "../../ui/charts.tsx";
import { Empty, Facts, Failure, Loading, Panel, Spark, Tabs, Time } from "../../ui/ui.tsx";
import { RANGES, type Steps, seriesOf, stepsOver } from "./over-time.ts";

interface Told {
  readonly over: Steps;
  /** A name, how many, and the moment of the newest, of all steps together. */
  readonly totals: readonly (readonly unknown[])[];
  /** A name, the step, how many. */
  readonly rows: readonly (readonly unknown[])[];
}

/** Steps are counted by the engine from the first one's beginning, which is the first parameter. */
const STEP = "((epoch_ms(moment) - epoch_ms($1::timestamptz)) // $2)::int";

export function Overview({ name, stream }: { name: string; stream: StreamView | undefined }) {
  const [parameters] = useSearchParams();
  const hours = RANGES.find(([, choice]) => String(choice) === parameters.get("hours"))?.[1] ?? 1;
  const own = useNode(`stream:${name}`);
  const window = useNode(`window:${name}`);
  const { pulse, rate: perSecond, history } = own.pulse === undefined ? window : own;
  const ask = async (from: string, extra: readonly unknown[], signal: AbortSignal): Promise<Told> => {
    const over = stepsOver(hours, Date.now());
    const params = [new Date(over.fromMs).toISOString(), over.stepMs, ...extra];
    const { rows } = await api.sql(
      `with seen as (${from}), steps as (select name, ${STEP} as step, count(*) as events, max(moment) as newest, any_value(told) as told from seen group by all)
       select name, step, events, newest, told from steps order by name, step`,
      { params, signal, maxRows: 10_000 },
    );
    return { over, rows, totals: totalsOf(rows) };
  };
  const sources = useLoad(
    `sources ${name} ${hours}`,
    (signal) =>
      ask(
        `select _source as name, _received_at as moment, null::varchar as told from bronze.${quote(name)} where _received_at >= $1::timestamptz`,
        [],
        signal,
      ),
    { on: [`stream:${name}`], paceMs: 5_000 },
  );
  const reasons = useLoad(
    `rejected ${name} ${hours}`,
    (signal) =>
      ask(
        `select code || ' (' || stage || ')' as name, first_seen as moment, message as told from system.dead_letters where stream = $3 and first_seen >= $1::timestamptz`,
        [name],
        signal,
      ),
    { on: ["dead-letters"], paceMs: 5_000 },
  );
  const base = `/streams/${encodeURIComponent(name)}`;
  return (
    <>
      <Panel title="Now">
        <Spark values={history} label={`Events per second of the last minute, now ${rate(perSecond)}`} />
        <Facts
          facts={[
            ["now", rate(perSecond)],
            ["accepted in all", count(pulse?.count ?? 0)],
            ["not in the lake yet", compact(pulse?.pending ?? 0)],
            ["rejected since the start", count(pulse?.rejected ?? 0)],
            ["partitions", count(stream?.partitions.length ?? 1)],
          ]}
        />
      </Panel>
      <Tabs
        tabs={RANGES.map(([label, choice]) => ({ label, to: `${base}?hours=${choice}`, current: choice === hours }))}
      />
      <div className="columns">
        <Panel title="By source">
          <OverTime of={sources} label={`Events of ${name} by source`} head={["Source", "Events", "Newest"]}>
            <Empty title="No events in this time">
              <Link className="button primary" to={`${base}/send`}>
                Send one
              </Link>
            </Empty>
          </OverTime>
        </Panel>
        <Panel
          title="Refused, and why"
          actions={
            <Link className="button" to={`/dead-letters?stream=${encodeURIComponent(name)}`}>
              Dead letters
            </Link>
          }
        >
          <OverTime of={reasons} label={`Events of ${name} refused, by reason`} head={["Reason", "Events", "Newest"]}>
            <Empty title="Nothing was refused in this time">
              <p>
                Events that break the contract, or that a table cannot take, are kept here byte for byte with the
                reason.
              </p>
            </Empty>
          </OverTime>
        </Panel>
      </div>
    </>
  );
}

interface OverTimeProps {
  readonly of: Loaded<Told>;
  readonly label: string;
  readonly head: readonly [string, string, string];
  /** Shown where there is nothing. */
  readonly children: React.ReactNode;
}

function OverTime({ of: { value, error, reload }, label, head, children }: OverTimeProps) {
  if (value === undefined)
    return error === undefined ? <Loading what={label} /> : <Failure error={error} retry={reload} />;
  if (value.totals.length === 0) return children;
  const { over, rows, totals } = value;
  return (
    <>
      <TimeBars label={label} fromMs={over.fromMs} stepMs={over.stepMs} series={seriesOf(rows, over)} format={count} />
      <p className="faint">Each bar is {duration(over.stepMs)}.</p>
      <table className="table">
        <thead>
          <tr>
            <th>{head[0]}</th>
            <th className="number">{head[1]}</th>
            <th>{head[2]}</th>
          </tr>
        </thead>
        <tbody>
          {totals.map(([what, events, newest, told]) => (
            <tr key={String(what)}>
              <td>
                <span className="mono">{String(what)}</span>
                {told !== null && <div className="faint">{String(told)}</div>}
              </td>
              <td className="number">{count(Number(events))}</td>
              <td>
                <Time at={String(newest)} relative />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

/** Of rows `name, step, events, newest, told` one for each name, the most events first. */
function totalsOf(rows: readonly (readonly unknown[])[]): readonly (readonly unknown[])[] {
  const totals = [...Map.groupBy(rows, ([name]) => name)].map(([name, steps]) => {
    const last = steps.at(-1) ?? [];
    return [name, steps.reduce((sum, [, , events]) => sum + Number(events), 0), last[3], last[4]] as const;
  });
  return totals.toSorted((a, b) => b[1] - a[1]);
}

function quote(name: string): string {
  return /^[a-z_]\w*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
