/** What every row has to meet, and how that went with each commit. */
import { Link } from "wouter";
import { api, type TableView } from "../../api.ts";
import { count, moment } from "../../format.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, Loading, Panel, Snippet, Time } from "../../ui/ui.tsx";
import { type CheckTrend, trendsOf } from "./check-trends.ts";
import "./tables.css";

/** Of so many failures, the newest, it is known in which commit they were. */
const MOST_LETTERS = 10_000;

export function Checks({ table }: { table: TableView }) {
  const checks = Object.entries(table.checks);
  const sql = `select event_partition, event_offset, regexp_extract(message, 'check "([^"]*)"', 1) as name, first_seen
    from system.dead_letters where stage = 'check' and table_name = $1 order by first_seen desc limit ${MOST_LETTERS}`;
  const { value, error, reload } = useLoad(
    `checks ${table.name}`,
    (signal) => (checks.length === 0 ? Promise.resolve(undefined) : api.sql(sql, { params: [table.name], signal })),
    { on: [`table:${table.name}`], paceMs: 10_000 },
  );
  if (checks.length === 0)
    return (
      <Empty title="No check">
        {table.mode === "append" ? (
          <>
            <p>
              A row that does not meet a condition is not stored; its event becomes a dead letter with the check's name.
            </p>
            <Snippet label="a check" text={`checks: {\n  name_of_the_check: "a condition over the columns",\n},`} />
          </>
        ) : (
          <p>Tables that take events row by row have checks; this one is made of such tables, or by the platform.</p>
        )}
      </Empty>
    );
  if (error !== undefined) return <Failure error={error} retry={reload} />;
  if (value === undefined) return <Loading what="the checks" />;
  const trends = trendsOf(table.checks, table.history, value.rows);
  return (
    <Panel title={`Over the last ${count(trends[0]?.commits.length ?? 0)} commits that brought events`} flush>
      <table className="table">
        <thead>
          <tr>
            <th>Check</th>
            <th>Condition</th>
            <th>By commit, oldest first</th>
            <th className="number">Failed</th>
            <th>Last</th>
          </tr>
        </thead>
        <tbody>
          {trends.map((trend) => (
            <Row key={trend.name} table={table} trend={trend} />
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function Row({ table, trend }: { table: TableView; trend: CheckTrend }) {
  const { name, condition, commits, failed, lastAt } = trend;
  const letters = `/dead-letters?${new URLSearchParams({ table: table.name, stage: "check", code: "CHECK_FAILED" })}`;
  const newest = commits.at(-1);
  return (
    <tr>
      <td>
        <span className="mono">{name}</span>{" "}
        {newest === undefined ? (
          <Badge>not asked yet</Badge>
        ) : newest.failed > 0 ? (
          <Badge tone="bad">fails</Badge>
        ) : (
          <Badge tone="ok">passes</Badge>
        )}
      </td>
      <td className="mono">{condition}</td>
      <td>
        <Bars trend={trend} />
      </td>
      <td className="number">{failed === 0 ? "0" : <Link to={letters}>{count(failed)}</Link>}</td>
      <td>{lastAt === undefined ? <span className="faint">never</span> : <Time at={lastAt} relative />}</td>
    </tr>
  );
}

const HEIGHT = 28;
/** A single failure among millions of rows is seen as well. */
const LEAST = 5;

function Bars({ trend: { name, commits } }: { trend: CheckTrend }) {
  const bad = commits.filter(({ failed }) => failed > 0).length;
  return (
    <svg
      className="check-bars"
      viewBox={`0 0 ${Math.max(1, commits.length) * 6} ${HEIGHT}`}
      width={Math.max(1, commits.length) * 6}
      height={HEIGHT}
      role="img"
      aria-label={`${name}: rows failed in ${bad} of ${commits.length} commits`}
    >
      {commits.map(({ version, atMs, passed, failed }, i) => {
        const high = failed === 0 ? 0 : Math.max(LEAST, (failed / (passed + failed)) * HEIGHT);
        return (
          <g key={version}>
            <title>{`version ${version}, ${moment(atMs)}: ${count(failed)} failed, ${count(passed)} passed`}</title>
            <rect x={i * 6} y={0} width={5} height={HEIGHT - high} className="passed" />
            {failed > 0 && <rect x={i * 6} y={HEIGHT - high} width={5} height={high} className="failed" />}
          </g>
        );
      })}
    </svg>
  );
}
