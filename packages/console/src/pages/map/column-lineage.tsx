/** Where the values of one column come from and where they go, in words; each column leads on to its own. */
import { Link } from "wouter";
import type { LineageColumn } from "../../../../../src/serve/lineage-route.ts";
import { api } from "../../api.ts";
import { useLoad } from "../../load.ts";
import { columnPath } from "../../places.ts";
import { Failure, Loading } from "../../ui/ui.tsx";
import "./column-lineage.css";

export function useLineage(table: string | undefined, column: string | undefined) {
  return useLoad(`lineage ${table} ${column}`, async (signal) =>
    table === undefined || column === undefined ? undefined : api.lineage(table, column, signal),
  );
}

export function ColumnLineage({ table, column }: { table: string; column: string }) {
  const { value, error, reload } = useLineage(table, column);
  if (error !== undefined) return <Failure error={error} retry={reload} />;
  if (value === undefined) return <Loading what="where it comes from" />;
  const [chosen] = value.columns;
  const of = (place: LineageColumn["place"]) => value.columns.filter((one) => one.place === place);
  const behind = of("behind");
  const ahead = of("ahead");
  return (
    <div className="column-lineage">
      <h3>Computed from</h3>
      {behind.length > 0 && <Columns columns={behind} />}
      {behind.length === 0 && chosen?.unknown === null && (
        <p className="faint">no other column: it comes in as it is, or is a constant, a count or the clock</p>
      )}
      {chosen?.unknown != null && <p className="notice warning">Not known for sure: {chosen.unknown}.</p>}
      <h3>Goes into</h3>
      {ahead.length === 0 ? <p className="faint">no column of another table</p> : <Columns columns={ahead} />}
    </div>
  );
}

function Columns({ columns }: { columns: readonly LineageColumn[] }) {
  return (
    <ul>
      {columns.map(({ table, column, unknown }) => (
        <li key={`${table} ${column}`}>
          <Link to={columnPath(table, column)}>
            {table}.<strong>{column}</strong>
          </Link>
          {unknown !== null && <span className="faint"> {unknown}</span>}
        </li>
      ))}
    </ul>
  );
}
