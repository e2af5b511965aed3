import { existsSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { MillraceError } from "../errors.ts";
import { type AlertRoute, readAlertRoutes, unknownDestinations } from "./alert-routes.ts";
import { type Alert, bindAlert } from "./bind-alerts.ts";
import { bindFunction, type FunctionSurroundings } from "./bind-functions.ts";
import { bindTables } from "./bind-tables.ts";
import { bindWindows } from "./bind-windows.ts";
import { workflowProblems } from "./bind-workflows.ts";
import { type Definition, definitionKind } from "./definition.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isNameList, isRecord } from "./options.ts";
import { type Problem, type ProjectProblem, problem, problemOf } from "./problem.ts";
import type { Project, Stream, Table } from "./project.ts";
import { CONFIG_FILE, definitionsOf, type Found, findModules, loadModule } from "./project-modules.ts";
import { readAlert } from "./read-alert.ts";
import { type Destination, readDestination } from "./read-destination.ts";
import { type Feature, readFeature } from "./read-feature.ts";
import { readFunction, type StreamFunction } from "./read-function.ts";
import { readSessions } from "./read-sessions.ts";
import { readSqlFunction, type SqlFunction } from "./read-sql-function.ts";
import { readStream } from "./read-stream.ts";
import { readTable, type TableDraft } from "./read-table.ts";
import type { Window } from "./read-window.ts";
import { readWorkflow, type Workflow } from "./read-workflow.ts";
import type { SqlInspector } from "./sql-inspector.ts";
import { quoteIdentifier } from "./sql-text.ts";

const DEFAULT_MODULES = ["**/*.ts"];
/** Kinds of definitions whose names are their own: a workflow may have the name of a stream. */
const OWN_NAMES = new Set(["sqlFunction", "workflow", "destination", "alert", "feature", "function"]);
const DEFAULT_HORIZON_MS = 7 * 86_400_000;

/**
 * Loads the project in a folder: its configuration, its modules' definitions, checked and bound against each other.
 *
 * A stream without a `silver` table of its own gets one, `select * from <stream>`, defined where the stream is.
 * A stream without a horizon takes what `horizonMs` makes of the configuration's settings: its number of that name, or 7 days,
 * unless the caller knows of flags and the environment.
 *
 * @throws PROJECT_NOT_FOUND; PROJECT_INVALID with every problem of the project in its message and, as a list of
 * `{code, file, line, name, message, hint}`, in its `details`.
 */
export async function loadProject(
  dir: string,
  inspector: SqlInspector,
  { horizonMs = horizonIn, configured, examine }: LoadOptions = {},
): Promise<Project> {
  const folder = resolve(dir);
  if (!existsSync(folder))
    throw new MillraceError("PROJECT_NOT_FOUND", { dir: folder, reason: "there is no such folder" });
  if (!existsSync(join(folder, CONFIG_FILE))) {
    throw new MillraceError("PROJECT_NOT_FOUND", { dir: folder, reason: `it holds no ${CONFIG_FILE}` });
  }
  // Modules know themselves by their real path, so places in them are compared with the real folder.
  return new Loading(await realpath(folder), inspector, horizonMs, configured, examine).run();
}

export interface LoadOptions {
  readonly horizonMs?: (settings: Project["settings"]) => number;
  /** Called once the configuration is read, before any SQL is. What it throws is thrown. */
  readonly configured?: (settings: Project["settings"], dir: string) => Promise<void>;
  /** What else is wrong with a table, when all of them are bound: that an engine of the installation cannot compute it. */
  readonly examine?: (
    table: Table,
    project: Pick<Project, "streams" | "tables" | "settings" | "dir">,
  ) => Promise<readonly Problem[]>;
}

function horizonIn({ horizonMs }: Project["settings"]): number {
  return typeof horizonMs === "number" ? horizonMs : DEFAULT_HORIZON_MS;
}

interface Config {
  readonly name: string;
  readonly modules: readonly string[];
  readonly alertRoutes: readonly AlertRoute[];
  readonly settings: Readonly<Record<string, unknown>>;
}

/** The streams and tables found so far, and where. */
interface Streams {
  readonly streams: Map<string, Stream>;
  readonly drafts: TableDraft[];
  readonly places: Map<TableDraft, Found>;
  readonly origins: Map<Stream, Found>;
  readonly broken: Set<string>;
}

interface ReadWorkflows {
  readonly read: ReadonlyMap<string, { readonly workflow: Workflow; readonly at: Found }>;
  readonly broken: ReadonlySet<string>;
}

interface ReadDestinations {
  readonly read: ReadonlyMap<string, { readonly destination: Destination; readonly at: Found }>;
  /** Names of those with problems of their own. */
  readonly broken: readonly string[];
}

class Loading {
  private readonly dir: string;
  private readonly inspector: SqlInspector;
  private readonly horizonMs: (settings: Project["settings"]) => number;
  private readonly configured: LoadOptions["configured"];
  private readonly examine: LoadOptions["examine"];
  private readonly problems: ProjectProblem[] = [];
  private modules: readonly string[] = [];

  constructor(
    dir: string,
    inspector: SqlInspector,
    horizonMs: (settings: Project["settings"]) => number,
    configured: LoadOptions["configured"],
    examine: LoadOptions["examine"],
  ) {
    this.configured = configured;
    this.examine = examine;
    this.dir = dir;
    this.inspector = inspector;
    this.horizonMs = horizonMs;
  }

  async run(): Promise<Project> {
    const config = await this.config();
    if (config !== undefined) await this.configured?.(config.settings, this.dir);
    const found = await this.definitions(config?.modules ?? DEFAULT_MODULES);
    const horizonMs = this.horizonMs(config?.settings ?? {});
    const streams = new Map<string, Stream>();
    const drafts: TableDraft[] = [];
    const places = new Map<TableDraft, Found>();
    const origins = new Map<Stream, Found>();
    const broken = new Set<string>();
    const overStreams: Found[] = [];
    const workflows = await this.workflows(found);
    const destinations = this.destinations(found);
    const sqlFunctions = await this.sqlFunctions(found);

    for (const one of this.unique(found.filter(({ definition }) => !OWN_NAMES.has(definitionKind(definition) ?? "")))) {
      const { definition } = one;
      if (definitionKind(definition) === "sessions") {
        this.sessions(one, drafts, places, broken);
        continue;
      }
      if (definitionKind(definition) === "window") {
        overStreams.push(one); // streams come first
        continue;
      }
      const isStream = definitionKind(definition) === "stream";
      const read = isStream ? readStream(definition, one.file, horizonMs) : readTable(definition, one.file);
      if (Array.isArray(read)) {
        this.report(one, read as Problem[]);
        for (const name of isStream ? namesOfStream(definition.name) : [definition.name]) broken.add(name);
      } else if (isStream) {
        streams.set(definition.name, read as Stream);
        origins.set(read as Stream, one);
      } else {
        drafts.push(read as TableDraft);
        places.set(read as TableDraft, one);
      }
    }
    const windows = this.windows(overStreams, { streams, drafts, places, origins, broken });
    for (const stream of streams.values()) {
      const draft = implicitSilver(stream);
      if (drafts.some(({ name }) => name === draft.name) || broken.has(draft.name)) continue;
      drafts.push(draft);
      places.set(draft, origins.get(stream)!);
    }
    this.namesTaken(drafts, places);
    const bound = await bindTables(streams, drafts, broken, this.inspector);
    for (const { draft, problem: found } of bound.problems)
      this.report({ ...places.get(draft)!, name: draft.name }, [found]);
    await this.examineTables(bound.tables, drafts, places, { streams, settings: config?.settings ?? {} });
    this.bindWorkflows(workflows, [
      ...[...streams.keys()].map((name) => `bronze.${name}`),
      ...drafts.map(({ name }) => name),
      ...broken,
    ]);
    this.bindDestinations(destinations, config?.alertRoutes ?? [], [...streams.keys(), ...broken]);
    const features = await this.features(found, streams, broken);
    const functions = this.functions(found, streams, { tables: bound.tables, features, broken });
    const alerts = await this.alerts(found, streams, bound.tables, windows.keys(), destinations, broken);
    this.featureNamesTaken(found, features, [functions, windows]);
    this.operatorNamesTaken(found, alerts, [functions, windows, features]);
    if (this.problems.length > 0) throw invalidProject(this.dir, this.problems);
    const settings = config!.settings;
    const names = new Map([...workflows.read].map(([name, { workflow }]) => [name, workflow]));
    return deepFreeze({
      name: config!.name,
      dir: this.dir,
      modules: this.modules,
      streams,
      tables: bound.tables,
      workflows: names,
      windows,
      functions,
      features,
      sqlFunctions,
      destinations: new Map([...destinations.read].map(([name, { destination }]) => [name, destination])),
      alertRoutes: config!.alertRoutes,
      alerts,
      settings,
    });
  }

  /** Windows make streams and, where the project has none of its own, the tables that keep the newest of their results. */
  private windows(
    found: readonly Found[],
    { streams, drafts, places, origins, broken }: Streams,
  ): ReadonlyMap<string, Window> {
    const windows = new Map<string, Window>();
    for (const { source, ...read } of bindWindows(found, streams, broken)) {
      if ("problems" in read) {
        this.report(source, read.problems);
        for (const name of namesOfStream(source.definition.name)) if (!streams.has(name)) broken.add(name);
        continue;
      }
      const { window, stream, silver } = read.bound;
      windows.set(window.name, window);
      streams.set(stream.name, stream);
      origins.set(stream, source);
      if (drafts.some(({ name }) => name === silver.name)) continue;
      drafts.push(silver);
      places.set(silver, source);
    }
    return windows;
  }

  /** Sessions are tables, and no name of theirs may be taken. */
  private sessions(one: Found, drafts: TableDraft[], places: Map<TableDraft, Found>, broken: Set<string>): void {
    const read = readSessions(one.definition, one.file);
    const made = read.filter((item): item is TableDraft => "sql" in item);
    if (made.length === 0) {
      this.report(one, read as readonly Problem[]);
      for (const end of ["", "_events", "_people"]) broken.add(`${one.definition.name}${end}`);
    }
    for (const draft of made) {
      drafts.push(draft);
      places.set(draft, one);
    }
  }

  /** A table that does not bind says nothing about an engine. */
  private async examineTables(
    tables: ReadonlyMap<string, Table>,
    drafts: readonly TableDraft[],
    places: ReadonlyMap<TableDraft, Found>,
    { streams, settings }: Pick<Project, "streams" | "settings">,
  ): Promise<void> {
    if (this.examine === undefined || this.problems.length > 0) return;
    for (const draft of drafts) {
      const table = tables.get(draft.name);
      if (table === undefined) continue;
      const found = await this.examine(table, { streams, tables, settings, dir: this.dir });
      this.report({ ...places.get(draft)!, name: draft.name }, found);
    }
  }

  /** Tables that one definition makes and another has the name of. */
  private namesTaken(drafts: readonly TableDraft[], places: ReadonlyMap<TableDraft, Found>): void {
    const first = new Map<string, TableDraft>();
    for (const draft of drafts) {
      const other = first.get(draft.name);
      if (other === undefined) first.set(draft.name, draft);
      else {
        const at = places.get(draft)!;
        this.report({ ...at, name: draft.name }, [
          problem("NAME_TAKEN", { subject: `table "${draft.name}"`, other: other.file }),
        ]);
      }
    }
  }

  private functions(
    found: readonly Found[],
    streams: ReadonlyMap<string, Stream>,
    around: FunctionSurroundings,
  ): ReadonlyMap<string, StreamFunction> {
    const functions = new Map<string, StreamFunction>();
    for (const at of this.unique(found.filter(({ definition }) => definitionKind(definition) === "function"))) {
      const read = readFunction(at.definition, at.file, streams, around.broken);
      const bound = "timeoutMs" in read ? bindFunction(read, at.definition, around) : read;
      if ("timeoutMs" in bound) functions.set(bound.name, bound);
      else this.report(at, bound);
    }
    return functions;
  }

  private async features(
    found: readonly Found[],
    streams: ReadonlyMap<string, Stream>,
    broken: ReadonlySet<string>,
  ): Promise<ReadonlyMap<string, Feature>> {
    const features = new Map<string, Feature>();
    for (const at of this.unique(found.filter(({ definition }) => definitionKind(definition) === "feature"))) {
      const read = await readFeature(at.definition, at.file, { streams, broken }, this.inspector);
      if ("aggregate" in read) features.set(read.name, read);
      else this.report(at, read);
    }
    return features;
  }

  /** Before any SQL is bound, for it may call them. */
  private async sqlFunctions(found: readonly Found[]): Promise<ReadonlyMap<string, SqlFunction>> {
    const functions = new Map<string, SqlFunction>();
    for (const at of this.unique(found.filter(({ definition }) => definitionKind(definition) === "sqlFunction"))) {
      const read = readSqlFunction(at.definition, at.file);
      if (!("compute" in read)) {
        this.report(at, read);
        continue;
      }
      try {
        await this.inspector.define([read]);
        functions.set(read.name, read);
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        this.report(at, [problemOf(error)]);
      }
    }
    return functions;
  }

  private async workflows(found: readonly Found[]): Promise<ReadWorkflows> {
    const read = new Map<string, { workflow: Workflow; at: Found }>();
    const broken = new Set<string>();
    for (const at of this.unique(found.filter(({ definition }) => definitionKind(definition) === "workflow"))) {
      const workflow = await readWorkflow(at.definition, at.file);
      if ("body" in workflow) read.set(workflow.name, { workflow, at });
      else {
        this.report(at, workflow);
        broken.add(at.definition.name);
      }
    }
    return { read, broken };
  }

  private bindWorkflows({ read, broken }: ReadWorkflows, tables: readonly string[]): void {
    const workflows = new Map([...read].map(([name, { workflow }]) => [name, workflow]));
    for (const { workflow, problem: found } of workflowProblems(workflows, tables, broken))
      this.report(read.get(workflow.name)!.at, [found]);
  }

  private destinations(found: readonly Found[]): ReadDestinations {
    const read = new Map<string, { destination: Destination; at: Found }>();
    const broken: string[] = [];
    for (const at of this.unique(found.filter(({ definition }) => definitionKind(definition) === "destination"))) {
      const destination = readDestination(at.definition, at.file);
      if ("kind" in destination) read.set(destination.name, { destination, at });
      else {
        this.report(at, destination);
        broken.push(at.definition.name);
      }
    }
    return { read, broken };
  }

  private bindDestinations(
    { read, broken }: ReadDestinations,
    routes: readonly AlertRoute[],
    streams: readonly string[],
  ): void {
    for (const { destination, at } of read.values()) {
      if (destination.kind !== "stream" || streams.includes(destination.stream)) continue;
      const nearest = didYouMean(destination.stream, streams);
      this.report(at, [
        invalidOption(
          `toStream "${destination.name}"`,
          "stream",
          destination.stream,
          `a stream of the project${nearest}`,
        ),
      ]);
    }
    const named = [...new Set(routes.flatMap(({ to }) => to))];
    const unknown = unknownDestinations(named, [...read.keys(), ...broken], "alerts of millrace.config.ts");
    this.report({ file: CONFIG_FILE }, unknown);
  }

  /** The reactor is asked for a feature by its name, so nothing else that it runs has it. */
  private featureNamesTaken(
    found: readonly Found[],
    features: ReadonlyMap<string, Feature>,
    others: readonly ReadonlyMap<string, { readonly file: string }>[],
  ): void {
    for (const { name } of features.values()) {
      const other = others.find((named) => named.has(name))?.get(name);
      if (other === undefined) continue;
      const at = found.find(({ definition }) => definitionKind(definition) === "feature" && definition.name === name);
      this.report({ ...at }, [problem("NAME_TAKEN", { subject: `feature "${name}"`, other: other.file })]);
    }
  }

  /** Dead letters of what reacts to events name it, so no alert has the name of something else that does. */
  private operatorNamesTaken(
    found: readonly Found[],
    alerts: ReadonlyMap<string, Alert>,
    others: readonly ReadonlyMap<string, { readonly file: string }>[],
  ): void {
    for (const { name, over } of alerts.values()) {
      const other = others.find((named) => named.has(name))?.get(name);
      if (over !== "stream" || other === undefined) continue;
      const at = found.find(({ definition }) => definitionKind(definition) === "alert" && definition.name === name);
      this.report({ ...at }, [problem("NAME_TAKEN", { subject: `alert "${name}"`, other: other.file })]);
    }
  }

  private async alerts(
    found: readonly Found[],
    streams: ReadonlyMap<string, Stream>,
    tables: ReadonlyMap<string, Table>,
    windows: Iterable<string>,
    destinations: ReadDestinations,
    broken: ReadonlySet<string>,
  ): Promise<ReadonlyMap<string, Alert>> {
    const alerts = new Map<string, Alert>();
    const { inspector } = this;
    const names = [...destinations.read.keys(), ...destinations.broken];
    const parts = { streams, tables, windows: [...windows], inspector, destinations: names };
    for (const at of this.unique(found.filter(({ definition }) => definitionKind(definition) === "alert"))) {
      const draft = await readAlert(at.definition, at.file);
      if (!("name" in draft)) {
        this.report(at, draft);
        continue;
      }
      const alert = await bindAlert(draft, { ...parts, broken });
      if (alert === undefined) continue; // it names what is broken, which is told there
      if ("name" in alert) alerts.set(alert.name, alert);
      else this.report(at, alert);
    }
    return alerts;
  }

  private async config(): Promise<Config | undefined> {
    const loaded = await loadModule(this.dir, CONFIG_FILE);
    if ("problem" in loaded) {
      this.problems.push(loaded.problem);
      return undefined;
    }
    const exported = loaded.exports.default;
    const at = { file: CONFIG_FILE, line: undefined, name: "" };
    if (definitionKind(exported) !== "config") {
      const reason = exported === undefined ? "has no default export" : "does not export what defineConfig gives";
      this.report(at, [problem("CONFIG_INVALID", { reason })]);
      return undefined;
    }
    const { options, place } = exported as Definition;
    if (!isRecord(options)) {
      this.report(at, [problem("CONFIG_INVALID", { reason: "gives defineConfig no options" })]);
      return undefined;
    }
    const { name, modules = DEFAULT_MODULES, alerts, ...settings } = options;
    const problems: Problem[] = [];
    const alertRoutes = readAlertRoutes(alerts, problems);
    if (typeof name !== "string" || !/^[a-z][a-z0-9_-]{0,99}$/.test(name)) {
      const allowed = "lower-case letters, digits, - and _, beginning with a letter";
      problems.push(invalidOption("millrace.config.ts", "name", name, allowed));
    }
    if (!isNameList(modules) || modules.length === 0) {
      problems.push(invalidOption("millrace.config.ts", "modules", modules, 'a list of globs such as ["**/*.ts"]'));
    }
    this.report({ ...at, line: place?.line }, problems);
    if (problems.length > 0) return undefined;
    return { name: name as string, modules: modules as string[], alertRoutes, settings };
  }

  private async definitions(patterns: readonly string[]): Promise<Found[]> {
    const found = new Map<Definition, Found>();
    const files = findModules(this.dir, patterns);
    this.modules = files;
    for (const file of files) {
      const loaded = await loadModule(this.dir, file);
      if ("problem" in loaded) {
        // A module that fails fails everyone who imports it; the failure is told once, where it is.
        const { file: at, line, message } = loaded.problem;
        const told = this.problems.some((p) => p.file === at && p.line === line && p.message === message);
        if (!told) this.problems.push(loaded.problem);
        continue;
      }
      for (const one of definitionsOf(this.dir, file, loaded.exports)) {
        if (definitionKind(one.definition) !== "config") found.set(one.definition, found.get(one.definition) ?? one);
      }
    }
    if (found.size === 0 && this.problems.length === 0) {
      const looked = files.length === 0 ? "no file matches" : `looked in ${files.join(", ")}`;
      this.report({ file: CONFIG_FILE }, [problem("PROJECT_EMPTY", { looked })]);
    }
    return [...found.values()].sort((a, b) => compare(a.file, b.file) || (a.line ?? 0) - (b.line ?? 0));
  }

  /** The first definition of each name; the others are reported. */
  private unique(found: readonly Found[]): Found[] {
    const first = new Map<string, Found>();
    for (const one of found) {
      const kind = definitionKind(one.definition)!;
      const key = String(one.definition.name);
      const other = first.get(key);
      if (other === undefined) {
        first.set(key, one);
        continue;
      }
      const place = other.line === undefined ? other.file : `${other.file}:${other.line}`;
      this.report(one, [problem("NAME_TAKEN", { subject: `${kind} "${key}"`, other: place })]);
    }
    return [...first.values()];
  }

  private report(at: Partial<Found> & { name?: string }, problems: readonly Problem[]): void {
    const name = at.name ?? at.definition?.name ?? "";
    for (const found of problems) {
      this.problems.push({
        ...found,
        file: at.file ?? "",
        ...(at.line === undefined ? {} : { line: at.line }),
        name: String(name),
      });
    }
  }
}

function namesOfStream(name: string): string[] {
  return [name, `bronze.${name}`, `silver.${name}`];
}

function implicitSilver(stream: Stream): TableDraft {
  return {
    name: `silver.${stream.name}`,
    sql: `select * from ${quoteIdentifier(stream.name)}`,
    checks: {},
    partitionBy: {},
    refresh: undefined,
    key: [],
    latest: undefined,
    tombstone: undefined,
    serve: undefined,
    file: stream.file,
  };
}

/** One line per problem with file and line, and under it the hint. */
function invalidProject(dir: string, problems: readonly ProjectProblem[]): MillraceError {
  const sorted = [...problems].sort((a, b) => compare(a.file, b.file) || (a.line ?? 0) - (b.line ?? 0));
  const list = sorted
    .map(({ file, line, code, message, hint }) => {
      const place = line === undefined ? file : `${file}:${line}`;
      return `  ${place}: ${message} [${code}]\n    ${hint}`;
    })
    .join("\n");
  const count = sorted.length === 1 ? "1 problem" : `${sorted.length} problems`;
  return new MillraceError("PROJECT_INVALID", { dir, count, list }, { details: sorted });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function deepFreeze<T>(value: T): T {
  if (value instanceof Map) for (const item of value.values()) deepFreeze(item);
  else if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
