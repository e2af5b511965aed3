import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { SqlFunction } from "../define/read-sql-function.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { MillraceError } from "../errors.ts";
import { BOUNDED_FUNCTIONS } from "./bounded-functions.ts";
import { registerDefined } from "./defined-functions.ts";
import { HeldInputs } from "./duckdb-input-files.ts";
import type { GeoDatabase } from "./geo-database.ts";
import { registerFunctions, registerLocateIp } from "./project-functions.ts";
import type { InputFiles } from "./sql-engine.ts";

export interface DuckdbOptions {
  /** What all statements together may hold in memory; beyond it they spill to `tempDir`. */
  readonly memoryBytes: number;
  readonly threads: number;
  /** A folder `duckdb` of its own is made in it for what does not fit into memory, emptied on opening. */
  readonly tempDir: string;
  /** The only folders statements can read and write. */
  readonly allowedDirs: readonly string[];
  /** Files that are only there while they are held; undefined where all are there all the time. */
  readonly inputs?: InputFiles | undefined;
  /** What `locate_ip` reads; without it there is no such function. */
  readonly geo?: GeoDatabase | undefined;
  /** Of the project. */
  readonly functions?: readonly SqlFunction[];
  /** Limit of spilled data. Default: ten times the memory. */
  readonly tempBytes?: number;
}

/**
 * One DuckDB in memory and its connections. A connection runs one statement at a time; opening one costs tens of
 * microseconds, so there is no upper limit, and those in which a statement was cut short are thrown away.
 */
export class Connections {
  /** A folder that statements may write to as well. */
  readonly tempDir: string;
  /** Statements under way, to be told when the engine closes. */
  readonly running = new Set<{ abandon(): void }>();
  /** Held by every statement that reads them, for as long as it runs. */
  readonly inputs: HeldInputs;
  readonly #instance: DuckDBInstance;
  readonly #idle: DuckDBConnection[] = [];
  readonly #taken = new Set<DuckDBConnection>();
  #closed = false;
  #drained: (() => void) | undefined;

  private constructor(instance: DuckDBInstance, tempDir: string, inputs: InputFiles | undefined) {
    this.#instance = instance;
    this.inputs = new HeldInputs(inputs);
    this.tempDir = tempDir;
  }

  static async open(options: DuckdbOptions): Promise<Connections> {
    const spillDir = join(options.tempDir, "duckdb");
    await rm(spillDir, { recursive: true, force: true });
    await mkdir(spillDir, { recursive: true });
    const instance = await DuckDBInstance.create(":memory:", { threads: String(options.threads) });
    const connection = await instance.connect();
    for (const statement of BOUNDED_FUNCTIONS) await connection.run(statement);
    registerFunctions(connection);
    if (options.geo !== undefined) registerLocateIp(connection, options.geo);
    registerDefined(connection, options.functions ?? []);
    for (const setting of settings(options, spillDir)) await connection.run(`SET GLOBAL ${setting}`);
    connection.closeSync();
    return new Connections(instance, spillDir, options.inputs);
  }

  /** @throws SHUTTING_DOWN */
  assertOpen(): void {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
  }

  /**
   * A connection for one caller; `progress`: its statements tell how far they are.
   * @throws SHUTTING_DOWN
   */
  async take(progress = false): Promise<DuckDBConnection> {
    this.assertOpen();
    const idle = progress ? undefined : this.#idle.pop();
    const connection = idle ?? (await this.#instance.connect());
    if (this.#closed) {
      connection.closeSync();
      throw new MillraceError("SHUTTING_DOWN");
    }
    this.#taken.add(connection);
    const settings = [...(idle === undefined ? OF_A_CONNECTION : []), ...(progress ? WITH_PROGRESS : [])];
    try {
      for (const setting of settings) await connection.run(`SET ${setting}`);
    } catch (error) {
      this.give(connection, true);
      throw error;
    }
    return connection;
  }

  /** Gives a connection back; `broken` when a statement may still be open in it. */
  give(connection: DuckDBConnection, broken = false): void {
    this.#taken.delete(connection);
    if (broken || this.#closed || this.#idle.length >= MAX_IDLE) connection.closeSync();
    else this.#idle.push(connection);
    if (this.#taken.size === 0) this.#drained?.();
  }

  /** Runs `work` with a connection of its own. */
  async with<T>(work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
    const connection = await this.take();
    let done = false;
    try {
      const result = await work(connection);
      done = true;
      return result;
    } finally {
      this.give(connection, !done);
    }
  }

  /** Interrupts what runs, waits until it has stopped, and lets go of the memory. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const statement of this.running) statement.abandon();
    while (this.#taken.size > 0) {
      for (const connection of this.#taken) connection.interrupt();
      // An interrupt that comes before a statement has begun is lost, so it is repeated.
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 20);
        this.#drained = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    for (const connection of this.#idle.splice(0)) connection.closeSync();
    this.#instance.closeSync();
  }
}

/** Enough for the statements of a busy moment; each keeps a few kilobytes. */
const MAX_IDLE = 16;

/** In this order: folders can only be named while access is free, and the lock must come last. */
function settings(options: DuckdbOptions, spillDir: string): string[] {
  const dirs = [...options.allowedDirs, spillDir].map((dir) => quoteLiteral(dir.endsWith("/") ? dir : `${dir}/`));
  return [
    "errors_as_json = true",
    "TimeZone = 'UTC'",
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "allow_community_extensions = false",
    "allow_persistent_secrets = false",
    "preserve_insertion_order = true",
    // The footers of a table's files are read by every query of it.
    "parquet_metadata_cache = true",
    // The system caches local files already. A second copy of what was read, of files long since compacted too, would fill the memory
    // limit within hours, and no query is faster for it (3 M rows summed: 235 ms without, 221 ms with; 60 small files: 68 and 88 ms).
    "enable_external_file_cache = false",
    // Data files never change, so what is cached of them is never looked at twice.
    "validate_external_file_cache = 'NO_VALIDATION'",
    `memory_limit = '${options.memoryBytes}B'`,
    `temp_directory = ${quoteLiteral(spillDir)}`,
    `max_temp_directory_size = '${options.tempBytes ?? 10 * options.memoryBytes}B'`,
    `allowed_configs = [${[...OF_A_CONNECTION, ...WITH_PROGRESS].map((setting) => quoteLiteral(setting.split(" ")[0] ?? "")).join(", ")}]`,
    `allowed_directories = [${dirs.join(", ")}]`,
    "enable_external_access = false",
    "lock_configuration = true",
  ];
}

/**
 * Binding takes time with the cube of the depth, and neither limit nor interrupt stops it: 250 operators one in another are
 * bound within half a second.
 */
const OF_A_CONNECTION = ["max_expression_depth = 250"];

/**
 * Progress is only counted while its bar is on; nothing is printed. Counting costs CPU time all along, so only statements whose
 * caller wants to know get such a connection.
 */
const WITH_PROGRESS = ["enable_progress_bar = true", "enable_progress_bar_print = false", "progress_bar_time = 0"];
