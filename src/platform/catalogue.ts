import type { Project } from "../define/project.ts";
import { isInternal } from "../flow/dead-letters.ts";
import type { Flow } from "../flow/flow.ts";
import type { LakeTable } from "../flow/lake-tables.ts";
import { unknownTable } from "../flow/relations.ts";
import type { Catalogue, Resolved, TableDetails, TableMention, TableSummary } from "../serve/catalogue.ts";

const HISTORY = 50;

/** The flow's tables and streams as the SQL and table routes see them. */
export class FlowCatalogue implements Catalogue {
  readonly #flow: Flow;
  /** Lower case -> the name as it is written in the project: SQL does not tell cases apart. */
  readonly #names: ReadonlyMap<string, string>;

  constructor(flow: Flow) {
    this.#flow = flow;
    const names = flow.relations.names().filter((name) => !isInternal(name.replace(/^bronze\./, "")));
    this.#names = new Map(names.map((name) => [name.toLowerCase(), name]));
  }

  names(): string[] {
    return [...this.#names.values()].sort();
  }

  columns(name: string) {
    const known = this.#names.get(name.toLowerCase());
    return known === undefined ? undefined : this.#flow.relations.columns(known);
  }

  async list(): Promise<TableSummary[]> {
    return this.names().map((name) => this.#summary(name));
  }

  async describe(name: string): Promise<TableDetails> {
    const known = this.#known(name);
    const summary = this.#summary(known);
    const columns = this.#flow.relations.columns(known) ?? [];
    const definition = this.#flow.project.tables.get(known);
    const lineage = lineageOf(this.#flow.project, known);
    const stored = this.#stored(known);
    return {
      ...summary,
      columns,
      partitionColumns: stored?.partitionColumns ?? [],
      reason: definition?.reason,
      sql: definition?.sql,
      checks: definition?.checks ?? {},
      lineage,
      history: stored ? await stored.delta.history(HISTORY) : [],
      files: (stored?.snapshot.files ?? []).map(({ path, sizeBytes, modifiedAtMs, partition, stats }) => ({
        path,
        sizeBytes,
        rows: stats?.rowCount,
        modifiedAtMs,
        partition,
      })),
    };
  }

  async resolve(mentions: readonly TableMention[]): Promise<Resolved> {
    return this.#flow.resolve(mentions.map((mention) => ({ ...mention, name: this.#known(mention.name) })));
  }

  #known(name: string): string {
    const known = this.#names.get(name.toLowerCase());
    if (known === undefined) throw unknownTable(name, this.names());
    return known;
  }

  #stored(name: string): LakeTable | undefined {
    return this.#flow.lake.has(name) ? this.#flow.lake.get(name) : undefined;
  }

  #summary(name: string): TableSummary {
    const stored = this.#stored(name);
    const files = stored?.snapshot.files ?? [];
    const rows = files.reduce<number | undefined>(
      (sum, { stats }) => (stats && sum !== undefined ? sum + stats.rowCount : undefined),
      0,
    );
    const { timestampMs = 0, version } = stored?.snapshot ?? {};
    return {
      name,
      kind: this.#flow.project.streams.has(name) ? "stream" : "table",
      mode: stored?.definition?.mode,
      version,
      rows: stored ? rows : undefined,
      sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
      freshAtMs: version === undefined || version === 0 ? undefined : timestampMs,
      freshnessMs: this.#flow.project.tables.get(name)?.freshnessMs,
    };
  }
}

function lineageOf(project: Project, name: string): { inputs: string[]; readers: string[] } {
  const stream = /^bronze\.(.+)$/.exec(name)?.[1];
  const inputs = stream === undefined ? [...(project.tables.get(name)?.inputs ?? [])] : [stream];
  const readers = [...project.tables.values()]
    .filter((table) => table.inputs.includes(name))
    .map((table) => table.name);
  if (project.streams.has(name)) readers.unshift(`bronze.${name}`);
  return { inputs, readers };
}
