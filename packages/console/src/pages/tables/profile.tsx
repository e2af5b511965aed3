/** Each column at a glance: nulls, distinct values, and how they are spread. */
import { api, type TableView } from "../../api.ts";
import { cell, compact, count } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Empty, Failure, Loading, Panel } from "../../ui/ui.tsx";
import { quoted } from "./quoted.ts";

const NUMBERS = new Set(["integer", "long", "double", "float", "decimal", "byte", "short"]);
/** Of large tables so many rows are looked at. */
const MOST_ROWS = 100_000;
const BINS = 20;
const BIN_KEYS = Array.from({ length: BINS }, (_, bin) => `bin ${bin}`);

export function Profile({ table }: { table: TableView }) {
  if (table.rows === 0 && table.version === 0)
    return (
      <Empty title="No row to look at yet">
        <p>Nulls, distinct values and how each column is spread are shown here once there are some.</p>
      </Empty>
    );
  return (
    <div className="columns">
      {table.columns.map((column) => (
        <ColumnProfile key={column.name} table={table} column={column} />
      ))}
    </div>
  );
}

function ColumnProfile({ table, column }: { table: TableView; column: TableView["columns"][number] }) {
  const name = quoted(column.name);
  const numeric = NUMBERS.has(column.type.kind);
  const flat = !["struct", "array", "map", "json", "binary"].includes(column.type.kind);
  const sample = `(select ${name} as v from ${quoted(table.name)} limit ${MOST_ROWS})`;
  const facts = `select count(*) as n, count(*) filter (v is null) as nulls, ${flat ? "approx_count_distinct(v)" : "null"} as kinds,
    ${flat ? "min(v)::varchar" : "null"} as low, ${flat ? "max(v)::varchar" : "null"} as high from ${sample}`;
  const shape = numeric
    ? `with s as ${sample}, b as (select min(v)::double as low, max(v)::double as high from s)
       select least(${BINS - 1}, floor((v::double - low) / nullif(high - low, 0) * ${BINS}))::int as bin, count(*) as n
       from s, b where v is not null and isfinite(v::double) group by all order by 1`
    : `select v::varchar as v, count(*) as n from ${sample} where v is not null group by all order by n desc, 1 limit 6`;
  // As of when it was opened: a table that is committed to every second would never be looked at to the end.
  const { value, error, reload } = useLoad(`profile ${table.name} ${column.name}`, async (signal) => {
    const [summary, spread] = await Promise.all([api.sql(facts, { signal }), api.sql(shape, { signal })]);
    return { summary: summary.rows[0] ?? [], spread: spread.rows };
  });
  const [n, nulls, kinds, low, high] = (value?.summary ?? []).map((one) => one as number | string | null);
  return (
    <Panel title={column.name} actions={<span className="faint mono">{column.typeName}</span>}>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading what="it" />}
      {value !== undefined && Number(n) === 0 && <Empty title="No row yet" />}
      {value !== undefined && Number(n) > 0 && (
        <>
          <p className="soft">
            {percent(Number(nulls), Number(n))} null
            {kinds !== null && kinds !== undefined && ` · about ${compact(Number(kinds))} distinct`}
            {low !== null && low !== undefined && ` · ${short(low)} to ${short(high)}`}
          </p>
          {numeric ? (
            <Histogram bins={value.spread} label={`How ${column.name} is spread`} />
          ) : (
            <Most rows={value.spread} of={Number(n)} />
          )}
        </>
      )}
    </Panel>
  );
}

function Histogram({ bins, label }: { bins: readonly (readonly unknown[])[]; label: string }) {
  const heights = Array.from({ length: BINS }, () => 0);
  for (const [bin, n] of bins) heights[Number(bin ?? 0)] = Number(n);
  const most = Math.max(1, ...heights);
  return (
    <svg
      className="spark"
      style={{ height: 64 }}
      viewBox={`0 0 ${BINS} 10`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${label}: ${heights.join(", ")}`}
    >
      {heights.map((height, bin) => (
        <rect
          key={BIN_KEYS[bin]}
          x={bin + 0.08}
          width={0.84}
          y={10 - (height / most) * 10}
          height={(height / most) * 10}
          fill="var(--chart-1)"
        />
      ))}
    </svg>
  );
}

function Most({ rows, of }: { rows: readonly (readonly unknown[])[]; of: number }) {
  const most = Math.max(1, ...rows.map(([, n]) => Number(n)));
  return (
    <ul>
      {rows.map(([value, n]) => (
        <li key={cell(value)} className="bar-row">
          <span className="mono" title={cell(value)}>
            {short(value)}
          </span>
          <span className="progress">
            <span style={{ width: `${(Number(n) / most) * 100}%` }} />
          </span>
          <span className="faint" title={count(Number(n))}>
            {percent(Number(n), of)}
          </span>
        </li>
      ))}
    </ul>
  );
}

function percent(part: number, whole: number): string {
  if (whole === 0) return "0 %";
  const share = (part / whole) * 100;
  return share > 0 && share < 0.1 ? "< 0.1 %" : `${share.toFixed(share < 10 && share > 0 ? 1 : 0)} %`;
}

function short(value: unknown): string {
  const text = cell(value);
  return text.length > 28 ? `${text.slice(0, 27)}…` : text;
}
