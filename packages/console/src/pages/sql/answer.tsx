/** A result, shown in one of the ways that fit it. */
import { Suspense } from "react";
import type { SqlResult } from "../../api.ts";
import { cell } from "../../format.ts";
import { PartBoundary, part } from "../../parts.tsx";
import { Grid } from "../../ui/grid.tsx";
import { Empty, Loading } from "../../ui/ui.tsx";
import { type View, viewOf } from "./chart-kinds.ts";

const Chart = part(() => import("./chart.tsx"));
const PointsMap = part(() => import("./points-map.tsx"));

export function Answer({ result, view: wanted, label }: { result: SqlResult; view: View; label: string }) {
  if (result.rows.length === 0) return <Empty title="No row" />;
  const view = viewOf(wanted, result);
  if (view === "number") return <BigNumbers result={result} />;
  if (view === "grid") return <Grid result={result} label={label} />;
  return (
    <PartBoundary place={view}>
      <Suspense fallback={<Loading what="the chart" />}>
        {view === "map" ? <PointsMap result={result} /> : <Chart result={result} kind={view} />}
      </Suspense>
    </PartBoundary>
  );
}

function BigNumbers({ result: { columns, rows } }: { result: SqlResult }) {
  return (
    <dl className="big-numbers">
      {columns.map(({ name }, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a column is its place, and names may come twice
        <div key={i}>
          <dt>{name}</dt>
          <dd>{bigNumber(rows[0]?.[i])}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Digits in groups; a decimal comes as text, and keeps every digit. */
function bigNumber(value: unknown): string {
  return /^-?\d+(\.\d+)?$/.test(cell(value))
    ? cell(value).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ",")
    : cell(value);
}
