import {
  BOOLEAN,
  DOUBLE,
  type DuckDBConnection,
  DuckDBScalarFunction,
  type DuckDBType,
  type DuckDBValue,
  LIST,
  listValue,
  STRUCT,
  structValue,
  VARCHAR,
} from "@duckdb/node-api";
import { connectedIds } from "./connected-ids.ts";
import type { GeoDatabase, Place } from "./geo-database.ts";
import { isCrawler, parseUserAgent } from "./user-agents.ts";

/**
 * Gives a database the functions that the SQL of projects has beyond DuckDB's own. They are known to every connection of it, and
 * depend on nothing but their arguments and the data of pinned packages, so that a statement gives the same whenever it runs.
 */
export function registerFunctions(connection: DuckDBConnection): void {
  const ids = LIST(VARCHAR);
  connection.registerScalarFunction(
    DuckDBScalarFunction.create({
      name: "connected_ids",
      parameterTypes: [ids, ids],
      returnType: ids,
      mainFunction(_, chunk, out) {
        const texts = (column: number, row: number) =>
          (chunk.getColumnVector(column).getItem(row) as { items: readonly string[] } | null)?.items;
        for (let row = 0; row < chunk.rowCount; row++) {
          const ids = texts(0, row);
          const others = texts(1, row);
          out.setItem(row, ids && others ? listValue(connectedIds(ids, others)) : null);
        }
        out.flush();
      },
    }),
  );
  connection.registerScalarFunction(ofText("is_bot", BOOLEAN, isCrawler));
  connection.registerScalarFunction(
    ofText("parse_user_agent", STRUCT({ device: VARCHAR, os: VARCHAR, browser: VARCHAR }), (text) =>
      structValue({ ...parseUserAgent(text) }),
    ),
  );
}

/** Gives a database `locate_ip`. Without it the function is not there, and a statement that calls it does not bind. */
export function registerLocateIp(connection: DuckDBConnection, geo: GeoDatabase): void {
  connection.registerScalarFunction(
    ofText("locate_ip", PLACE, (ip) => {
      const place = geo.locate(ip);
      return place === null ? null : structValue({ ...place });
    }),
  );
}

const PLACE = STRUCT({
  country_code: VARCHAR,
  country: VARCHAR,
  region_code: VARCHAR,
  region: VARCHAR,
  city: VARCHAR,
  postal_code: VARCHAR,
  continent_code: VARCHAR,
  latitude: DOUBLE,
  longitude: DOUBLE,
  accuracy_km: DOUBLE,
  time_zone: VARCHAR,
} satisfies Record<keyof Place, DuckDBType>);

/** A function of one text; of null it is null. */
function ofText(name: string, returnType: DuckDBType, compute: (text: string) => DuckDBValue): DuckDBScalarFunction {
  return DuckDBScalarFunction.create({
    name,
    parameterTypes: [VARCHAR],
    returnType,
    mainFunction(_, chunk, out) {
      const texts = chunk.getColumnVector(0);
      for (let row = 0; row < chunk.rowCount; row++) {
        const text = texts.getItem(row) as string | null;
        out.setItem(row, text === null ? null : compute(text));
      }
      out.flush();
    },
  });
}
