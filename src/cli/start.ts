import { existsSync, readFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readDuration } from "../config/quantity.ts";
import { flagName } from "../config/setting.ts";
import { declarations, type Settings } from "../config/settings.ts";
import type { PlatformStatus } from "../serve/admin-route.ts";
import { type Call, type Command, type Option, wrongUsage } from "./command.ts";
import { HttpClient } from "./http-client.ts";
import { drawLedger, type LedgerAnswer } from "./ledger.ts";
import { Simulator } from "./simulator.ts";
import { drawAnswer, type SqlAnswer } from "./sql.ts";
import { StartSummary } from "./start-summary.ts";
import { listenForStop } from "./stop-signal.ts";
import { printJson } from "./terminal.ts";

/** What `start` needs of a running platform (`platform.ts`). */
export interface RunningPlatform {
  /** Where it serves, for example `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly adminKeyFile: string;
  readonly settings: Settings;
  /** Aborts when the platform must be closed, with the error that says why. */
  readonly mustStop: AbortSignal;
  /** Where BI tools connect, if they can. */
  readonly bi: { readonly host: string; readonly port: number; readonly database: string } | undefined;
  /** Takes nothing new, stores what was acknowledged, and stops. */
  close(): Promise<void>;
}

export const start: Command = {
  name: "start",
  summary: "Run the platform for a project: everything embedded, in this process.",
  operands: "[PROJECT]",
  operandCount: { min: 0, max: 1 },
  options: {
    for: {
      type: "string",
      value: "TIME",
      doc: "Stop after this time (30s, 5m), and show the day's sales and the ledger.",
    },
    simulate: { type: "boolean", doc: "Let the project's simulator send events." },
    ...settingOptions(),
  },
  help: `
  millrace start shop --port 9000 --data /var/lib/shop

The line "ready http://HOST:PORT" says that it serves. The first start writes an admin key to DIR/admin.key, which commands
run in the project's folder find by themselves. Ctrl-C or SIGTERM stores what was acknowledged and stops; a second one stops
at once, and nothing acknowledged is lost then either. docs/settings.md says more about each setting.`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const projectDir = resolve(terminal.cwd, operands[0] ?? ".");
    const runForMs = runTime(call);
    const stop = listenForStop(() => process.exit(1));
    try {
      const { startPlatform } = await import("../platform.ts");
      const platform: RunningPlatform = await startPlatform({
        projectDir,
        flags: settingFlags(call),
        env: terminal.env,
      });
      const run = new Run(call, platform);
      try {
        run.announce();
        if (flags.has("simulate")) run.simulate(projectDir);
        await run.watch(stop.signal, runForMs);
        await run.stopSimulator();
        if (runForMs !== undefined && !stop.signal.aborted) await run.showResults();
      } finally {
        await run.close();
        await platform.close();
      }
      if (platform.mustStop.aborted) throw platform.mustStop.reason;
      return run.failed ? 1 : 0;
    } finally {
      stop.end();
    }
  },
};

const SALES = "gold.sales_daily";
/** What was acknowledged is stored at the next flush, by default within 5 s; longer only means that the ledger shows it as pending. */
const DRAIN_WITHIN_MS = 15_000;

class Run {
  failed = false;
  readonly #call: Call;
  readonly #platform: RunningPlatform;
  /** Undefined where others made the keys, and this process was given none. */
  readonly #key: string | undefined;
  readonly #client: HttpClient;
  readonly #summary: StartSummary;
  readonly #simulatorFailed = new AbortController();
  #simulator: Simulator | undefined;

  constructor(call: Call, platform: RunningPlatform) {
    this.#call = call;
    this.#platform = platform;
    const { adminKeyFile, settings } = platform;
    this.#key = settings.adminKey ?? (existsSync(adminKeyFile) ? readFileSync(adminKeyFile, "utf8").trim() : undefined);
    this.#client = new HttpClient({ url: platform.url, key: this.#key ?? "" });
    this.#summary = new StartSummary(call.terminal.stdout);
  }

  announce(): void {
    const { stdout, cwd } = this.#call.terminal;
    const near = relative(cwd, this.#platform.adminKeyFile);
    stdout.write(`ready ${this.#platform.url}\n`);
    const { bi } = this.#platform;
    if (bi)
      stdout.write(
        `BI tools: host ${bi.host}, port ${bi.port}, database ${bi.database} (millrace bi-users create NAME)\n`,
      );
    if (existsSync(this.#platform.adminKeyFile))
      stdout.write(`admin key in ${near.startsWith("..") ? this.#platform.adminKeyFile : near}\n`);
  }

  simulate(projectDir: string): void {
    const { simulator } = this.#platform.settings;
    if (simulator === undefined) {
      this.#summary.note(`no simulator: ${projectDir} names none in millrace.config.ts`);
      return;
    }
    if (this.#key === undefined) {
      this.#summary.note("no simulator: it needs a key, and others have made the keys; set adminKey");
      return;
    }
    this.#simulator = new Simulator(simulator, { url: this.#platform.url, key: this.#key }, (reason) => {
      this.failed = true;
      this.#summary.note(`the simulator failed: ${reason}`);
      this.#simulatorFailed.abort();
    });
  }

  /** Shows the summary until the signal, or until the time is over: sooner when the simulator that should fill it fails. */
  async watch(stopped: AbortSignal, runForMs: number | undefined): Promise<void> {
    const ends = [stopped, this.#platform.mustStop];
    const stop = AbortSignal.any(runForMs === undefined ? ends : [...ends, this.#simulatorFailed.signal]);
    const endMs = runForMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + runForMs;
    while (!stop.aborted && performance.now() < endMs) {
      const pauseMs = Math.min(this.#summary.everyMs, endMs - performance.now());
      // Rejects when stopped meanwhile, which the loop's condition sees.
      await sleep(pauseMs, undefined, { signal: stop }).catch(() => undefined);
      if (stop.aborted) return;
      if (this.#tellsStatus) this.#summary.show(await this.#status(), Date.now());
    }
  }

  async stopSimulator(): Promise<void> {
    await this.#simulator?.stop();
  }

  /** The day's sales, where the project has such a table, and the ledger of all that came in. */
  async showResults(): Promise<void> {
    if (!this.#tellsStatus) return;
    const { terminal, flags } = this.#call;
    if (!flags.has("json")) terminal.stdout.write("\nstoring what came in …\n");
    const { tables } = await this.#drained();
    const sql = `select * from ${SALES} order by day desc limit 5`;
    const sales = tables.some(({ name }) => name === SALES)
      ? await this.#client.json<SqlAnswer>("/v1/sql", { body: { sql } })
      : undefined;
    const ledger = await this.#client.json<LedgerAnswer>("/v1/ledger");
    if (!ledger.balanced) this.failed = true;
    if (flags.has("json")) return printJson(terminal, { sales, ledger });
    if (sales !== undefined) terminal.stdout.write(`\n${sql}\n\n${drawAnswer(this.#call, sales)}`);
    terminal.stdout.write(`\n${drawLedger(ledger)}`);
  }

  async close(): Promise<void> {
    await this.stopSimulator();
    this.#client.close();
  }

  async #drained(): Promise<PlatformStatus> {
    for (const started = performance.now(); ; await sleep(50)) {
      const status = await this.#status();
      const pending = status.streams.some((stream) => stream.pending > 0);
      if (!pending || performance.now() - started > DRAIN_WITHIN_MS) return status;
    }
  }

  /** A process without that role knows no more than what comes in at its own door. */
  get #tellsStatus(): boolean {
    return this.#key !== undefined && this.#platform.settings.role.includes("serve");
  }

  #status(): Promise<PlatformStatus> {
    return this.#client.json<PlatformStatus>("/v1/status");
  }
}

/** Every setting can be given as a flag; its name and its words come from the declaration. */
function settingOptions(): Record<string, Option> {
  return Object.fromEntries(
    declarations().map(([name, setting]): [string, Option] => {
      const value = {
        text: "TEXT",
        integer: "N",
        duration: "TIME",
        bytes: "SIZE",
        path: "PATH",
        choice: "WORD",
        choices: "WORDS",
        url: "URL",
      };
      return [flagName(name), { type: "string", value: value[setting.kind], doc: setting.doc }];
    }),
  );
}

function settingFlags({ flags }: Call): Record<string, string> {
  const given = declarations().flatMap(([name]) => {
    const text = flags.text(flagName(name));
    return text === undefined ? [] : [[name, text] as const];
  });
  return Object.fromEntries(given);
}

function runTime({ flags }: Call): number | undefined {
  const text = flags.text("for");
  if (text === undefined) return undefined;
  const ms = readDuration(text);
  // A bare number would be milliseconds here, which nobody means.
  if (ms === undefined || /^\d+$/.test(text.trim()))
    throw wrongUsage(start, `--for is a time such as 30s or 5m; got "${text}"`);
  return ms;
}
