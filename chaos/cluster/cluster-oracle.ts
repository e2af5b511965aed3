/**
 * The oracle over several workers: producers and queriers work against doors that are killed, paused, cut off and moved about, while brokers, bucket and
 * database fail; then everything heals, and the judge looks whether what was acknowledged is there, once, and right.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";
import { freePort, Life } from "../child.ts";
import { Client } from "../client.ts";
import { Crowd } from "../crowd.ts";
import { filesBelow } from "../damage.ts";
import type { LedgerHop } from "../findings.ts";
import { judge } from "../judge.ts";
import type { JudgedReactions } from "../judge-reactions.ts";
import { neededFiles } from "../lake-reader.ts";
import { Random } from "../random.ts";
import { RATES } from "../traffic.ts";
import { type ClusterFault, ClusterPlanner, type PlannedFault } from "./cluster-plan.ts";
import { Site } from "./site.ts";
import { TOPOLOGIES, type Topology, type WorkerPlan } from "./topologies.ts";

export interface ClusterOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly ClusterFault[];
  /** Default: by the seed, all doing the same or doors apart. */
  readonly topology?: Topology | undefined;
  readonly say: (line: string) => void;
  /** Keeps folder, topics, bucket and database whatever the outcome. Otherwise only those of a failed run stay. */
  readonly keep?: boolean;
  /** Keeps the folder, with the obligations and the lake as it was judged. */
  readonly keepFolder?: boolean;
}

export interface ClusterOutcome {
  readonly workers: string;
  readonly acknowledged: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly violations: readonly string[];
  readonly faults: ReadonlyMap<string, number>;
  /** From a start after a kill to the first answer. */
  readonly recoveriesMs: readonly number[];
  readonly queries: {
    readonly answered: number;
    readonly failed: number;
    readonly refusals: ReadonlyMap<string, number>;
  };
  readonly reactions: JudgedReactions;
  readonly dir: string;
}

/** A key for all workers: nobody reads a data folder for it. */
const ADMIN_KEY = `mk_chaoschaos12_${"k".repeat(43)}`;
const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;
/** Workers share two cores with brokers and a judge. */
const READY_WITHIN_MS = 300_000;
const HEALED_WITHIN_MS = 300_000;

const SETTINGS = {
  flushIntervalMs: 400,
  refreshDebounceMs: 200,
  historyMs: HOUR_MS,
  checkpointIntervalMs: 1_000,
  partitions: 4,
  engineMemoryBytes: 256 * 1024 * 1024,
  engineThreads: 1,
  storeTimeoutMs: 10_000,
  adminKey: ADMIN_KEY,
  logLevel: "info",
} as const;

export async function runClusterOracle(options: ClusterOptions): Promise<ClusterOutcome> {
  const site = await Site.open(options.seed);
  const run = new ClusterRun(options, site);
  try {
    return await run.run();
  } finally {
    await run.end();
  }
}

/** One of the workers, life after life under one name. */
class Worker {
  readonly plan: WorkerPlan;
  readonly port: number;
  readonly dataDir: string;
  readonly #start: (worker: Worker) => Life;
  life: Life | undefined;
  /** Something is being done to it. */
  busy = false;

  constructor(plan: WorkerPlan, port: number, dataDir: string, start: (worker: Worker) => Life) {
    this.plan = plan;
    this.port = port;
    this.dataDir = dataDir;
    this.#start = start;
    mkdirSync(dataDir, { recursive: true });
  }

  get runs(): boolean {
    return this.life !== undefined && !this.life.over;
  }

  start(): Life {
    this.life = this.#start(this);
    return this.life;
  }
}

class ClusterRun {
  readonly #o: ClusterOptions;
  readonly #site: Site;
  readonly #dir = mkdtempSync(join(tmpdir(), "millrace-cluster-"));
  readonly #planner: ClusterPlanner;
  readonly #violations: string[] = [];
  readonly #faults = new Map<string, number>();
  readonly #recoveriesMs: number[] = [];
  readonly #startedAtMs = performance.now();
  readonly #topology: readonly WorkerPlan[];
  #workers: Worker[] = [];
  #crowd: Crowd | undefined;
  /** Faults that last. */
  readonly #lasting = new Set<Promise<void>>();
  #healing = false;
  #failed = true;

  constructor(options: ClusterOptions, site: Site) {
    this.#o = options;
    this.#site = site;
    const random = new Random(options.seed);
    const drawn = random.pick(["same", "doors"] as const);
    this.#topology = TOPOLOGIES[options.topology ?? drawn];
    this.#planner = new ClusterPlanner(random, options.faults);
    mkdirSync(this.#obligations);
  }

  get #obligations(): string {
    return join(this.#dir, "obligations");
  }

  async run(): Promise<ClusterOutcome> {
    await this.#begin();
    const deadline = performance.now() + this.#o.seconds * 1000;
    while (performance.now() < deadline && this.#broken.length === 0) {
      const planned = this.#planner.next();
      await sleep(planned.waitMs);
      this.#befall(planned);
    }
    await Promise.all(this.#lasting);
    const ledgers = await this.#heal();
    const dataDir = join(this.#dir, "judged");
    await this.#site.download(dataDir);
    await this.#vacuumed(dataDir);
    const verdict = await judge(dataDir, this.#obligations, ledgers[0] ?? []);
    const crowd = this.#crowd as Crowd;
    const violations = [...this.#broken, ...verdict.violations];
    this.#failed = violations.length > 0;
    const { answered, failed, refusals } = crowd;
    return {
      workers: this.#topology.map(({ name }) => name).join(", "),
      ...{ acknowledged: verdict.acknowledged, lost: verdict.lost, duplicated: verdict.duplicated, violations },
      ...{ faults: this.#faults, recoveriesMs: this.#recoveriesMs, queries: { answered, failed, refusals } },
      ...{ reactions: verdict.reactions, dir: this.#dir },
    };
  }

  /** Ends every process, and removes everything unless somebody will want to look at it. */
  async end(): Promise<void> {
    this.#healing = true;
    this.#crowd?.kill();
    for (const { life } of this.#workers) if (life && !life.over) await life.kill();
    await this.#site.heal();
    const keep = this.#failed || this.#o.keep === true;
    await this.#site.close(keep);
    if (!keep && !this.#o.keepFolder) rmSync(this.#dir, { recursive: true, force: true, maxRetries: 10 });
  }

  get #broken(): string[] {
    return [...this.#violations, ...(this.#crowd?.violations ?? [])];
  }

  #say(line: string): void {
    this.#o.say(`${((performance.now() - this.#startedAtMs) / 1000).toFixed(1).padStart(6)} s: ${line}`);
  }

  async #begin(): Promise<void> {
    for (const plan of this.#topology) {
      const port = await freePort();
      const site = await this.#site.settingsOf(plan.name);
      this.#workers.push(
        new Worker(plan, port, join(this.#dir, plan.name), (worker) => {
          const settings = {
            ...{ ...SETTINGS, ...site, role: worker.plan.roles.join(","), workerId: worker.plan.name },
            advertiseUrl: `http://127.0.0.1:${worker.port}`,
          };
          const logFile = join(this.#dir, `${worker.plan.name}.log`);
          const life = new Life({ ...worker, logFile, settings, script: "cluster/worker.ts" }, {});
          void this.#watch(worker, life);
          return life;
        }),
      );
    }
    const started = async (worker: Worker) => {
      if (!(await worker.start().untilReady(READY_WITHIN_MS)))
        throw new Error(`${worker.plan.name} does not start; see ${this.#dir}/${worker.plan.name}.log`);
    };
    await Promise.all(this.#workers.map(started));
    this.#say("all workers are ready");
    const doors = this.#portsOf("gateway");
    const rates = Object.entries(RATES).map(([country, rate]) => JSON.stringify({ rate_id: country, country, rate }));
    const client = new Client(doors, ADMIN_KEY);
    const answer = await client.send(
      "POST",
      "/v1/streams/rates/events",
      `${rates.join("\n")}\n`,
      "application/x-ndjson",
    );
    if (answer?.status !== 202) throw new Error(`the rates were not taken: ${JSON.stringify(answer)}`);
    const { seed } = this.#o;
    const queryPorts = this.#portsOf("serve");
    const dir = this.#obligations;
    const queries = { queryPorts, queryTimeoutMs: 60_000 };
    this.#crowd = new Crowd({ seed, ports: doors, ...queries, key: ADMIN_KEY, dir, producers: 2, queriers: 2 });
  }

  #portsOf(role: string): number[] {
    return this.#workers.filter(({ plan }) => plan.roles.some((one) => one === role)).map(({ port }) => port);
  }

  /** A worker that ends by itself is started again, as whoever runs it would; only some ends are right. */
  async #watch(worker: Worker, life: Life): Promise<void> {
    while (!(await life.untilOver(1_000)));
    if (worker.busy || worker.life !== life || this.#healing) return;
    if (life.exitCode === 3) this.#count("ended: another had its name");
    // It says that it cannot begin, and whoever runs it tries again; in the end each must have begun.
    else if (!life.ready) this.#count("a start that was given up");
    else
      this.#violations.push(
        `${worker.plan.name} ended by itself with ${life.exitCode}; see ${this.#dir}/${worker.plan.name}.log`,
      );
    this.#say(`${worker.plan.name} ended by itself with ${life.exitCode}`);
    await sleep(500);
    if (!this.#healing && !worker.runs && !worker.busy) worker.start();
  }

  #befall(planned: PlannedFault): void {
    const lasting = this.#does(planned)
      .catch((error: unknown) => {
        this.#violations.push(`the oracle itself failed at ${planned.fault}: ${(error as Error).stack}`);
      })
      .finally(() => this.#lasting.delete(lasting));
    this.#lasting.add(lasting);
  }

  async #does({ fault, which, lastsMs, bare }: PlannedFault): Promise<void> {
    switch (fault) {
      case "kill":
      case "zombie":
      case "pause":
      case "rebalance":
      case "restart":
      case "cut":
        return this.#toWorker(fault, which, lastsMs, bare);
      case "broker":
        return this.#toEnvironment("broker", async () => {
          const { brokers } = this.#site;
          const id = brokers[which % brokers.length] as number;
          this.#count("broker killed");
          this.#say(`broker ${id} is killed for ${lastsMs} ms`);
          await this.#site.killBroker(id);
          await sleep(lastsMs);
          await this.#site.startBroker(id);
          this.#say(`broker ${id} is back`);
        });
      case "broker-pause":
        return this.#toEnvironment("broker", async () => {
          const { brokers } = this.#site;
          const id = brokers[which % brokers.length] as number;
          if (!(await this.#site.signalBroker(id, "SIGSTOP"))) return;
          this.#count("broker held up");
          this.#say(`broker ${id} is held up for ${lastsMs} ms`);
          await sleep(lastsMs);
          await this.#site.signalBroker(id, "SIGCONT");
        });
      case "postgres":
        return this.#toEnvironment("postgres", async () => {
          if (!(await this.#site.killPostgres())) return;
          this.#count("PostgreSQL killed");
          this.#say(`PostgreSQL is killed for ${lastsMs} ms`);
          await sleep(lastsMs);
          await this.#site.startPostgres();
          this.#say("PostgreSQL is back");
        });
      case "postgres-cut":
        return this.#toEnvironment("postgres", async () => {
          this.#count("PostgreSQL cut off");
          this.#say(`PostgreSQL is cut off for ${lastsMs} ms`);
          for (const { postgres } of this.#site.ways()) postgres.down(true);
          await sleep(lastsMs);
          for (const { postgres } of this.#site.ways()) postgres.down(false);
        });
      case "s3":
        return this.#toEnvironment("s3", async () => {
          this.#count("S3 failing");
          this.#say(`S3 fails for ${lastsMs} ms`);
          const rates = { "slow-down": 0.2, failed: 0.1, lost: 0.1, mute: 0.02, "cut-request": 0.05 };
          for (const { s3 } of this.#site.ways()) s3.set({ ...rates, silent: 0.02, "cut-answer": 0.1, slow: 0.1 });
          await sleep(lastsMs);
          for (const { s3 } of this.#site.ways()) s3.set({});
        });
      case "s3-down":
        return this.#toEnvironment("s3", async () => {
          this.#count("S3 cut off");
          this.#say(`S3 is cut off for ${lastsMs} ms`);
          for (const { s3 } of this.#site.ways()) s3.down(true);
          await sleep(lastsMs);
          for (const { s3 } of this.#site.ways()) s3.down(false);
        });
    }
  }

  readonly #failing = new Set<string>();

  /** One fault of each kind at a time: two brokers of three are no cluster any more. */
  async #toEnvironment(what: string, work: () => Promise<void>): Promise<void> {
    if (this.#failing.has(what)) return;
    this.#failing.add(what);
    try {
      await work();
    } finally {
      this.#failing.delete(what);
    }
  }

  async #toWorker(fault: ClusterFault, which: number, lastsMs: number, bare: boolean): Promise<void> {
    const idle = this.#workers.filter(({ busy, runs, life }) => !busy && runs && life?.ready === true);
    // Something must go on: what nobody does cannot be judged.
    if (idle.length <= Math.ceil(this.#workers.length / 2)) return;
    const worker = idle[which % idle.length] as Worker;
    const life = worker.life as Life;
    worker.busy = true;
    this.#count(`${fault}: ${worker.plan.roles.length === 5 ? "all roles" : worker.plan.roles.join(", ")}`);
    this.#say(
      `${fault}: ${worker.plan.name} for ${lastsMs} ms${fault === "kill" && bare ? ", with its data folder" : ""}`,
    );
    try {
      if (fault === "zombie" || fault === "pause") {
        life.signal("SIGSTOP");
        await sleep(lastsMs);
        life.signal("SIGCONT");
        this.#say(`${worker.plan.name} goes on`);
        return;
      }
      if (fault === "cut") {
        for (const { s3, postgres } of this.#site.ways(worker.plan.name)) {
          s3.down(true);
          postgres.down(true);
        }
        await sleep(lastsMs);
        for (const { s3, postgres } of this.#site.ways(worker.plan.name)) {
          s3.down(false);
          postgres.down(false);
        }
        this.#say(`${worker.plan.name} is no longer cut off`);
        return;
      }
      if (fault === "kill") await life.kill();
      else {
        const code = await life.stop(HEALED_WITHIN_MS);
        if (code !== 0)
          this.#violations.push(
            `${worker.plan.name} was told to stop and ended with ${code}; see ${this.#dir}/${worker.plan.name}.log`,
          );
      }
      await sleep(lastsMs);
      if (fault === "kill" && bare) rmSync(worker.dataDir, { recursive: true, force: true });
      mkdirSync(worker.dataDir, { recursive: true });
      const startedAt = performance.now();
      const next = worker.start();
      worker.busy = false;
      if (await next.untilReady(READY_WITHIN_MS)) {
        this.#recoveriesMs.push(performance.now() - startedAt);
        this.#say(`${worker.plan.name} is back`);
      } else if (!next.over) {
        this.#violations.push(`${worker.plan.name} was not ready within ${READY_WITHIN_MS} ms; see ${this.#dir}`);
      }
    } finally {
      worker.busy = false;
    }
  }

  /** No more faults: what was sent is acknowledged, what was acknowledged is stored, and what nobody needs is removed. */
  async #heal(): Promise<LedgerHop[][]> {
    this.#healing = true;
    this.#say("no more faults");
    await this.#site.heal();
    for (const worker of this.#workers) if (!worker.runs) worker.start();
    for (const worker of this.#workers) await this.#comesUp(worker);
    await this.#crowd?.stop(HEALED_WITHIN_MS);
    this.#say("the producers have stopped");
    const ledgers: LedgerHop[][] = [];
    for (const port of this.#portsOf("serve")) ledgers.push(await this.#drained(port));
    this.#say("the ledgers are drained");
    await this.#delivered();
    await this.#ready();
    for (const { life, plan } of this.#workers) {
      const code = await life?.stop(HEALED_WITHIN_MS);
      this.#say(`${plan.name} has stopped`);
      if (code !== 0)
        this.#violations.push(`healed, ${plan.name} ended with ${code}; see ${this.#dir}/${plan.name}.log`);
    }
    return ledgers;
  }

  /** A start that is given up is tried again. */
  async #comesUp(worker: Worker): Promise<void> {
    for (let starts = 1; ; starts++) {
      if (await worker.life?.untilReady(READY_WITHIN_MS)) return;
      if (worker.runs || starts === 3) break;
      this.#count("a start that was given up");
      worker.start();
    }
    this.#violations.push(`${worker.plan.name} does not start any more; see ${this.#dir}/${worker.plan.name}.log`);
  }

  /** Waits until a worker's ledger has nothing pending; the ledger then. */
  async #drained(port: number): Promise<LedgerHop[]> {
    type Hop = LedgerHop & { pending: number; accepted: number; verified: number };
    const client = new Client(port, ADMIN_KEY);
    let ledger: { balanced: boolean; hops: Hop[] } | undefined;
    let body = "";
    for (const deadline = performance.now() + HEALED_WITHIN_MS; performance.now() < deadline; await sleep(300)) {
      const answer = await client.send("GET", "/v1/ledger");
      body = answer?.body ?? "no answer";
      ledger = answer?.status === 200 ? JSON.parse(answer.body) : ledger;
      if (ledger?.balanced && ledger.hops.every((hop) => hop.pending === 0)) break;
    }
    const pending = ledger?.hops.filter((hop) => hop.pending > 0) ?? [];
    if (!ledger?.balanced) this.#violations.push(`a ledger is not balanced: ${body}`);
    else if (pending.length > 0)
      this.#violations.push(
        `${HEALED_WITHIN_MS / 1000} s after the last event there are pending ones: ${JSON.stringify(pending)}`,
      );
    return ledger?.hops ?? [];
  }

  async #delivered(): Promise<void> {
    const client = new Client(this.#portsOf("serve"), ADMIN_KEY);
    let body = "";
    for (const deadline = performance.now() + HEALED_WITHIN_MS; performance.now() < deadline; await sleep(300)) {
      const answer = await client.send("GET", "/v1/destinations");
      body = answer?.body ?? "no answer";
      if (answer?.status !== 200) continue;
      const destinations = JSON.parse(answer.body).destinations as { waiting: number }[];
      if (destinations.every((destination) => destination.waiting === 0)) return;
    }
    this.#violations.push(`alerts wait for their destination: ${body}`);
  }

  async #ready(): Promise<void> {
    for (const { plan, port } of this.#workers) {
      const client = new Client(port, ADMIN_KEY);
      let body = "";
      let isReady = false;
      for (const deadline = performance.now() + 60_000; !isReady && performance.now() < deadline; await sleep(300)) {
        const answer = await client.send("GET", "/readyz");
        body = answer?.body ?? "no answer";
        isReady = answer?.status === 200;
      }
      if (!isReady) this.#violations.push(`healed, ${plan.name} is not ready: ${body}`);
    }
  }

  /**
   * Vacuum of workers goes by the bucket's clock, which nobody here can move. So it is done on the lake as they left it, a year on: no file may be there
   * then that no table needs.
   */
  async #vacuumed(dataDir: string): Promise<void> {
    const store = await openFsStore(join(dataDir, "lake"));
    const nowMs = Date.now() + YEAR_MS;
    const dataFiles = () =>
      filesBelow(dataDir, "lake").filter(
        (path) => /^lake\/[^_.].*\.parquet$/.test(path) && !path.includes("/_delta_log/"),
      );
    const tables = new Set(dataFiles().map((path) => path.split("/").slice(1, 3).join("/")));
    const needed = new Set<string>();
    for (const location of tables) {
      await openDeltaTable(store, location).vacuum({ retentionMs: HOUR_MS, nowMs });
      for (const file of await neededFiles(dataDir, location.replace("/", "."))) needed.add(file);
    }
    const orphans = dataFiles().filter((file) => !needed.has(file));
    if (orphans.length > 0)
      this.#violations.push(
        `vacuum leaves ${orphans.length} files that no table needs, for example ${orphans.slice(0, 3).join(", ")}`,
      );
  }

  #count(what: string): void {
    this.#faults.set(what, (this.#faults.get(what) ?? 0) + 1);
  }
}
