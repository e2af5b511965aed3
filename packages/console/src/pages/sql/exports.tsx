/** A result as a file: every row as CSV, the rows shown as Parquet, the chart as a picture. */
import { useRef, useState } from "react";
import { api, type SqlResult } from "../../api.ts";
import { bind } from "./parameters.ts";
import { parquetOf, pictureOf, saveAs } from "./save.ts";

export function Exports({
  sql,
  parameters,
  result,
}: {
  sql: string;
  parameters: Readonly<Record<string, string>>;
  result: SqlResult;
}) {
  const [failure, setFailure] = useState<Error>();
  const place = useRef<HTMLSpanElement>(null);
  const save = async (work: () => Promise<[string, Blob]>) => {
    setFailure(undefined);
    try {
      saveAs(...(await work()));
    } catch (error) {
      setFailure(error as Error);
    }
  };
  const csv = async (): Promise<[string, Blob]> => {
    const bound = bind(sql, parameters);
    return ["result.csv", await (await api.sqlAs(bound.sql, "text/csv", bound.params)).blob()];
  };
  const png = async (): Promise<[string, Blob]> => {
    const canvas = place.current?.closest(".sql-cell")?.querySelector<HTMLCanvasElement>(".chart canvas");
    if (!canvas) throw new Error("There is no chart to save; show the result as one first.");
    return ["chart.png", await pictureOf(canvas)];
  };
  return (
    <span ref={place} className="row">
      <button type="button" className="button quiet" title="Every row, as CSV" onClick={() => void save(csv)}>
        CSV
      </button>
      <button
        type="button"
        className="button quiet"
        title="The rows shown, as Parquet"
        onClick={() => void save(async () => ["result.parquet", await parquetOf(result)])}
      >
        Parquet
      </button>
      <button type="button" className="button quiet" title="The chart, as a picture" onClick={() => void save(png)}>
        PNG
      </button>
      {failure !== undefined && <span className="faint">{failure.message}</span>}
    </span>
  );
}
