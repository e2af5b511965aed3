/** Small charts drawn as the page is, without a library: bars over time, and histograms. */
import { compact, duration, moment, utc } from "../format.ts";
import "./charts.css";

export interface Series {
  readonly name: string;
  /** One for each step of time. */
  readonly values: readonly number[];
  /** What of it stands out: a token's name. By default the chart's own colours in turn. */
  readonly colour?: string;
}

export const CHART_COLOURS = ["chart-1", "chart-2", "chart-3", "chart-4", "chart-5", "chart-6"] as const;

interface TimeBarsProps {
  /** What is shown, for whoever does not see it. */
  readonly label: string;
  /** Where the first bar begins, and how long each is. */
  readonly fromMs: number;
  readonly stepMs: number;
  readonly series: readonly Series[];
  /** Marks bars, as those in which something did not balance. */
  readonly marked?: readonly boolean[];
  readonly format?: (value: number) => string;
}

const HEIGHT = 100;

export function TimeBars({ label, fromMs, stepMs, series, marked = [], format = compact }: TimeBarsProps) {
  const steps = Math.max(1, ...series.map(({ values }) => values.length));
  const totals = Array.from({ length: steps }, (_, i) => series.reduce((sum, { values }) => sum + (values[i] ?? 0), 0));
  const most = Math.max(...totals);
  const scale = most === 0 ? 0 : (HEIGHT - 2) / most;
  const colourOf = ({ colour }: Series, i: number) => `var(--${colour ?? CHART_COLOURS[i % CHART_COLOURS.length]})`;
  const all = series.map(({ name, values }) => ({ name, sum: values.reduce((sum, value) => sum + value, 0) }));
  return (
    <figure className="time-bars">
      <svg
        viewBox={`0 0 ${steps * 10} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${label}: ${all.map(({ name, sum }) => `${name} ${format(sum)}`).join(", ")}`}
      >
        {totals.map((total, i) => {
          const atMs = fromMs + i * stepMs;
          const said = series
            .filter(({ values }) => (values[i] ?? 0) !== 0)
            .map(({ name, values }) => `${name}: ${format(values[i] ?? 0)}`);
          let top = HEIGHT;
          return (
            <g key={atMs}>
              <title>
                {[`${moment(atMs)} (${utc(atMs)})`, ...said, ...(marked[i] ? ["does not balance"] : [])].join("\n")}
              </title>
              <rect className={marked[i] ? "ground marked" : "ground"} x={i * 10} y={0} width={10} height={HEIGHT} />
              {total > 0 &&
                series.map((one, j) => {
                  const height = (one.values[i] ?? 0) * scale;
                  top -= height;
                  return height === 0 ? null : (
                    <rect key={one.name} x={i * 10 + 1} y={top} width={8} height={height} fill={colourOf(one, j)} />
                  );
                })}
            </g>
          );
        })}
      </svg>
      <div className="axis">
        <span>{moment(fromMs)}</span>
        <span>most {format(most)}</span>
        <span>{moment(fromMs + steps * stepMs)}</span>
      </div>
      <figcaption>
        {series.map((one, i) => (
          <span key={one.name} className="key">
            <span className="swatch" style={{ background: colourOf(one, i) }} />
            {one.name} <span className="faint">{format(all[i]?.sum ?? 0)}</span>
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

interface HistogramProps {
  readonly label: string;
  readonly buckets: readonly { readonly toMs: number | null; readonly count: number }[];
}

/** How many took how long; empty buckets at both ends are left out. */
export function Histogram({ label, buckets }: HistogramProps) {
  const from = Math.max(0, buckets.findIndex(({ count }) => count > 0) - 1);
  const to = Math.min(buckets.length, buckets.findLastIndex(({ count }) => count > 0) + 2);
  const shown = buckets.slice(from, Math.max(to, from + 1));
  const most = Math.max(1, ...shown.map(({ count }) => count));
  const last = buckets.findLast(({ toMs }) => toMs !== null)?.toMs ?? 0;
  const bound = (toMs: number | null) => (toMs === null ? `> ${duration(last)}` : `≤ ${duration(toMs)}`);
  return (
    <ol className="histogram" aria-label={label}>
      {shown.map(({ toMs, count }) => (
        <li key={String(toMs)}>
          <span className="faint">{bound(toMs)}</span>
          <span className="track">
            <span style={{ width: `${(count / most) * 100}%` }} />
          </span>
          <span className="number">{compact(count)}</span>
        </li>
      ))}
    </ol>
  );
}
