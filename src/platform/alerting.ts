/** Alerts of a project, between the parts that find them, keep them and show them. */
import { join } from "node:path";
import type { TableAlert } from "../define/bind-alerts.ts";
import type { Project } from "../define/project.ts";
import type { SqlInspector } from "../define/sql-inspector.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { Flow } from "../flow/flow.ts";
import type { FileSystem } from "../lake/file-system.ts";
import { AlertMemory } from "../react/alerts/alert-memory.ts";
import { type QueryOptions, TableAlerts } from "../react/alerts/table-alerts.ts";
import { bindQuery } from "../serve/bind-query.ts";
import type { Catalogue } from "../serve/catalogue.ts";

export interface AlertingParts {
  readonly project: Project;
  readonly flow: Flow;
  readonly engine: SqlEngine;
  readonly inspector: SqlInspector;
  readonly catalogue: Catalogue;
  readonly dataDir: string;
  readonly fs: FileSystem;
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
}

export class Alerting {
  readonly #o: AlertingParts;
  readonly #tables: TableAlerts;
  #unwatch: () => void = () => undefined;

  constructor(parts: AlertingParts) {
    this.#o = parts;
    const { project, flow, dataDir, fs, clock, report } = parts;
    this.#tables = new TableAlerts({
      ...{ clock, report, settled: flow.alerts },
      alerts: [...project.alerts.values()].filter((alert): alert is TableAlert => alert.over === "table"),
      query: (sql, options) => this.#query(sql, options),
      memory: new AlertMemory(join(dataDir, "react", "alerts"), fs, report),
    });
  }

  start(): void {
    this.#unwatch = this.#o.flow.lake.onCommit((table) => this.#tables.committed(table));
    this.#tables.start();
  }

  async close(): Promise<void> {
    this.#unwatch();
    await this.#tables.close();
  }

  async #query(sql: string, { signal, timeoutMs, mostRows }: QueryOptions) {
    const { engine, inspector, catalogue } = this.#o;
    const bound = await bindQuery(sql, [], { engine, inspector, catalogue });
    try {
      const { columns, batches } = await engine.query(bound.statement, { signal, timeoutMs });
      const names = columns.map(({ name }) => name);
      const rows: Record<string, unknown>[] = [];
      for await (const batch of batches) {
        for (const row of batch) rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]])));
        if (rows.length > mostRows) throw new MillraceError("ALERT_ROWS", { most: mostRows });
      }
      return { columns: names, rows };
    } finally {
      bound.release();
    }
  }
}
