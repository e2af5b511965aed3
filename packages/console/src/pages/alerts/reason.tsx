/** The numbers that raised an alert: the field's values of its key around the moment, and the limit they crossed. */
import { Suspense } from "react";
import { type AlertView, api } from "../../api.ts";
import { useLoad } from "../../load.ts";
import { part } from "../../parts.tsx";
import { Failure, Loading } from "../../ui/ui.tsx";
import { quoted } from "../tables/quoted.ts";
import { type Details, literal } from "./alert.tsx";

const Chart = part(() => import("../sql/chart.tsx"));
const MOST = 500;

export function Reason({ alert, details }: { alert: AlertView; details: Details }) {
  const { on, by = [], row = {}, reason } = details;
  const field = reason?.field;
  const drawn = on !== undefined && field !== undefined && typeof row[field] === "number";
  const conditions = by.map((one) => `${quoted(one)} = ${literal(row[one])}`);
  const limits = (["low", "high"] as const).flatMap((name) =>
    typeof reason?.[name] === "number" ? [`${reason[name]} as ${name}`] : [],
  );
  const sql = drawn
    ? `select * from (select _received_at as at, ${[quoted(field), ...limits].join(", ")} from ${quoted(on)}
        where ${[...conditions, `_received_at <= timestamp ${literal(alert.at)} + interval 5 minute`].join(" and ")}
        order by _received_at desc limit ${MOST}) order by at`
    : undefined;
  const { value, error, reload } = useLoad(sql ?? "nothing", async (signal) =>
    sql === undefined ? undefined : await api.sql(sql, { signal }),
  );
  return (
    <>
      {reason?.text !== undefined && <p>{reason.text}</p>}
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value !== undefined && value.rows.length > 1 && (
        <Suspense fallback={<Loading what="the chart" />}>
          <Chart result={value} kind="line" />
        </Suspense>
      )}
    </>
  );
}
