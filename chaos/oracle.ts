/**
 * The oracle: producers and queriers work against a platform that is hit by faults, life after life; then the faults heal, and
 * the judge looks whether everything that was acknowledged is there, once, and right.
 */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { keepPoolAwake } from "../src/platform/wake-pool.ts";
import { endPostgres, freePort, killStateServer, Life } from "./child.ts";
import { Client } from "./client.ts";
import { Crowd } from "./crowd.ts";
import { DAMAGES, filesBelow } from "./damage.ts";
import type { LedgerHop } from "./findings.ts";
import { judge } from "./judge.ts";
import type { JudgedReactions } from "./judge-reactions.ts";
import { neededFiles } from "./lake-reader.ts";
import { type Fault, type LifePlan, LifePlanner } from "./life-plan.ts";
import { Random } from "./random.ts";
import { RATES } from "./traffic.ts";

export interface OracleOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly Fault[];
  /** Goes on until every named point was met so often, at most for `seconds`. */
  readonly each?: number | undefined;
  readonly queriers?: number;
  /** Told what happens, a line at a time. */
  readonly say: (line: string) => void;
  /** Keeps the folder whatever the outcome. Otherwise only that of a failed run stays. */
  readonly keep?: boolean;
}

export interface Outcome {
  readonly cycles: number;
  readonly acknowledged: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly violations: readonly string[];
  /** Kills by named point; `a random moment` and `a state write` are there as well. */
  readonly kills: ReadonlyMap<string, number>;
  /** Other faults, by name. */
  readonly faults: ReadonlyMap<string, number>;
  /** From the start of a process that follows a crash to its first answer. */
  readonly recoveriesMs: readonly number[];
  /** From the end of PostgreSQL, or of one of its connections, to the first answer that needs it. */
  readonly stateBackMs: readonly number[];
  readonly queries: {
    readonly answered: number;
    readonly failed: number;
    readonly refusals: ReadonlyMap<string, number>;
  };
  readonly reactions: JudgedReactions;
  readonly dir: string;
}

const RANDOM_MOMENT = "a random moment";
const STATE_WRITE = "a state write";
/** How long the records may be out of reach once their server was killed; it begins anew by itself. */
const STATE_BACK_MS = 30_000;
/** How long no batch may be acknowledged meanwhile. Nothing in the ingest path waits for the records. */
const INGEST_PAUSE_MS = 10_000;
const HOUR_MS = 3_600_000;
const SMALL_DISK_BYTES = 1 << 30;

export async function runOracle(options: OracleOptions): Promise<Outcome> {
  keepPoolAwake();
  const run = new Run(options);
  try {
    return await run.run();
  } finally {
    await run.end();
  }
}

class Run {
  readonly #o: OracleOptions;
  /** For what depends on how things go; the planner's own is left alone, so that a seed plans the same lives whatever happens. */
  #random = new Random(0);
  readonly #planner: LifePlanner;
  readonly #dir: string;
  readonly #dataDir: string;
  readonly #obligationsDir: string;
  readonly #violations: string[] = [];
  readonly #kills = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  readonly #recoveriesMs: number[] = [];
  readonly #stateBackMs: number[] = [];
  /** Data folders of first starts. */
  readonly #firstDirs: string[] = [];
  readonly #keys: string[] = [];
  #port = 0;
  #client: Client | undefined;
  #crowd: Crowd | undefined;
  #life: Life | undefined;
  #cycles = 0;
  #failed = true;

  constructor(options: OracleOptions) {
    this.#o = options;
    this.#planner = new LifePlanner(new Random(options.seed), options.faults, options.each);
    this.#dir = mkdtempSync(join(tmpdir(), "millrace-chaos-"));
    this.#dataDir = join(this.#dir, "data");
    this.#obligationsDir = join(this.#dir, "obligations");
    mkdirSync(this.#dataDir);
    mkdirSync(this.#obligationsDir);
    if (this.#mounts) execFileSync("mount", ["-t", "tmpfs", "-o", `size=${SMALL_DISK_BYTES}`, "tmpfs", this.#dataDir]);
  }

  async run(): Promise<Outcome> {
    this.#port = await freePort();
    await this.#begin();
    const deadline = performance.now() + this.#o.seconds * 1000;
    while (performance.now() < deadline && this.#violations.length === 0 && this.#crowd?.violations.length === 0) {
      if (this.#planner.done) break;
      const planned = this.#planner.next();
      await (planned.firstStart ? this.#startFirst(planned) : this.#live(planned));
    }
    const ledger = await this.#heal();
    const verdict = await judge(this.#dataDir, this.#obligationsDir, ledger);
    const crowd = this.#crowd as Crowd;
    const violations = [...this.#violations, ...crowd.violations, ...verdict.violations];
    this.#failed = violations.length > 0;
    const { answered, failed, refusals } = crowd;
    return {
      cycles: this.#cycles,
      acknowledged: verdict.acknowledged,
      lost: verdict.lost,
      duplicated: verdict.duplicated,
      violations,
      kills: this.#kills,
      faults: this.#faults,
      recoveriesMs: this.#recoveriesMs,
      stateBackMs: this.#stateBackMs,
      queries: { answered, failed, refusals },
      reactions: verdict.reactions,
      dir: this.#dir,
    };
  }

  /** Ends every process, and removes the folder unless somebody will want to look at it. */
  async end(): Promise<void> {
    this.#crowd?.kill();
    if (this.#life && !this.#life.over) await this.#life.kill();
    for (const dataDir of [this.#dataDir, ...this.#firstDirs]) endPostgres(dataDir);
    if (this.#failed || this.#o.keep) return;
    if (this.#mounts) {
      await sleep(500); // the server has let go of its files by then
      execFileSync("umount", ["-l", this.#dataDir]);
    }
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 10 });
  }

  get #mounts(): boolean {
    return this.#o.faults.includes("small-disk");
  }

  #start(plan: LifePlan["plan"], dataDir = this.#dataDir, port = this.#port): Life {
    const logFile = join(this.#dir, "platform.log");
    this.#life = new Life({ dataDir, port, logFile }, plan);
    return this.#life;
  }

  /** The first start of another data folder, killed while it makes the tables; the next one must bring it up. */
  async #startFirst({ plan }: LifePlan): Promise<void> {
    this.#cycles++;
    // A folder for each, which goes with the run: an initdb that outlived its platform may still write there.
    const dataDir = join(this.#dir, `first-${this.#cycles}`);
    mkdirSync(dataDir);
    this.#firstDirs.push(dataDir);
    const port = await freePort();
    const life = this.#start(plan, dataDir, port);
    await life.untilReady(60_000);
    if (!life.over) await life.kill();
    this.#killed(life.killedAt ?? RANDOM_MOMENT);
    const startedAt = performance.now();
    const next = this.#start({}, dataDir, port);
    if (await next.untilReady(60_000)) this.#recoveriesMs.push(performance.now() - startedAt);
    else
      this.#violations.push(
        `a first start was killed, and the next one does not come up; see ${this.#dir}/platform.log`,
      );
    await next.kill();
    endPostgres(dataDir);
  }

  #killed(at: string): void {
    this.#count(this.#kills, at);
    this.#planner.hit(at);
    this.#o.say(`cycle ${this.#cycles}: killed at ${at}`);
  }

  /** The first lives: tables are made, rates are set, producers and queriers begin. */
  async #begin(): Promise<void> {
    await this.#live(this.#planner.first());
    const life = this.#start({});
    if (!(await life.untilReady())) throw new Error(`the platform does not start; see ${this.#dir}/platform.log`);
    const key = readFileSync(join(this.#dataDir, "admin.key"), "utf8").trim();
    this.#client = new Client(this.#port, key);
    const rates = Object.entries(RATES).map(([country, rate]) => JSON.stringify({ rate_id: country, country, rate }));
    const answer = await this.#client.send(
      "POST",
      "/v1/streams/rates/events",
      `${rates.join("\n")}\n`,
      "application/x-ndjson",
    );
    if (answer?.status !== 202) throw new Error(`the rates were not taken: ${JSON.stringify(answer)}`);
    await life.kill();
    const { seed } = this.#o;
    const queriers = this.#o.queriers ?? 3;
    this.#crowd = new Crowd({ seed, ports: [this.#port], key, dir: this.#obligationsDir, producers: 2, queriers });
  }

  /** One life: from its start to its death. */
  async #live(planned: LifePlan): Promise<void> {
    const { plan } = planned;
    this.#cycles++;
    this.#random = new Random(this.#o.seed * 10_007 + this.#cycles);
    for (const { code } of plan.failing ?? []) this.#count(this.#faults, code === "EIO" ? "EIO" : "ENOSPC, injected");
    if (plan.losesUnsynced) this.#count(this.#faults, "unsynced bytes lost");
    if (planned.preparedBy !== undefined) await this.#damage(planned.preparedBy);
    const startedAt = performance.now();
    const life = this.#start(plan);
    const events = this.#during(life, planned);
    if (planned.measuredFromReady) {
      if (await life.untilReady()) this.#recoveriesMs.push(performance.now() - startedAt);
      else if (!life.over) this.#violations.push("a platform did not get ready within 30 s");
    }
    await Promise.all([life.untilOver(planned.lastsMs), planned.stateServer && events]);
    const byItself = life.over;
    if (!byItself) {
      if (planned.writesState) await this.#killWritingState(life);
      else await life.kill();
    }
    await events;
    if (byItself && life.killedAt === undefined && (plan.failing ?? []).length === 0 && planned.fillMs === undefined) {
      this.#violations.push(`a platform ended by itself with ${life.exitCode}; see ${this.#dir}/platform.log`);
    }
    const at = life.killedAt ?? (byItself ? undefined : planned.writesState ? STATE_WRITE : RANDOM_MOMENT);
    if (at !== undefined) this.#killed(at);
    else this.#count(this.#faults, "start refused by a failing disk");
    if (plan.kill && life.killedAt === undefined) {
      this.#planner.missed(plan.kill.point);
      this.#o.say(`cycle ${this.#cycles}: did not come by ${plan.kill.point}`);
    }
    if (planned.damages) await this.#damage(this.#random.pick(Object.keys(DAMAGES)));
  }

  /** What happens to a life while it lasts. */
  async #during(life: Life, planned: LifePlan): Promise<void> {
    const replays = planned.replays === undefined ? undefined : this.#replay(life, planned.replays);
    await this.#befall(life, planned);
    await replays;
  }

  /** Tables are replayed while everything else goes on. Whether one succeeds depends on when the life ends. */
  async #replay(life: Life, table: string): Promise<void> {
    if (!(await life.untilReady())) return;
    while (!life.over) {
      const answer = await this.#client?.send("POST", `/v1/tables/${table}/replay`, "{}");
      if (answer?.status === 200) this.#count(this.#faults, "table replayed");
      await sleep(50);
    }
  }

  async #befall(life: Life, { pauseMs, fillMs, jumpsMs, stateServer }: LifePlan): Promise<void> {
    for (const byMs of jumpsMs) {
      // Before it serves a jump would only be another time of its start.
      if (!(await life.untilReady())) return;
      await sleep(this.#random.int(100, 900));
      if (life.over) return;
      this.#count(this.#faults, byMs > 0 ? "clock ahead" : "clock back");
      life.jumpClock(byMs);
    }
    if (stateServer !== undefined) await this.#killState(life, stateServer);
    if (fillMs !== undefined) {
      await sleep(this.#random.int(0, 1000));
      this.#count(this.#faults, "small file system full");
      await this.#fillDisk(fillMs);
    }
    if (pauseMs !== undefined) {
      await sleep(this.#random.int(0, 1500));
      if (life.over) return;
      this.#count(this.#faults, "SIGSTOP");
      life.signal("SIGSTOP");
      await sleep(pauseMs);
      life.signal("SIGCONT");
    }
  }

  /** The records' server dies: batches are acknowledged all the same, and the records are there again without anyone's help. */
  async #killState(life: Life, which: "server" | "connection"): Promise<void> {
    if (!(await life.untilReady())) return;
    await sleep(this.#random.int(0, 500));
    if (life.over || !killStateServer(this.#dataDir, which)) return;
    this.#count(this.#faults, which === "server" ? "PostgreSQL killed" : "a connection of PostgreSQL killed");
    const killedAt = performance.now();
    const before = this.#obligationBytes();
    const elapsed = () => performance.now() - killedAt;
    while (!life.over && this.#obligationBytes() === before && elapsed() < INGEST_PAUSE_MS) await sleep(20);
    if (!life.over && this.#obligationBytes() === before) {
      this.#violations.push(`nothing was acknowledged for ${INGEST_PAUSE_MS} ms after PostgreSQL was killed`);
    }
    for (;;) {
      const answer = await this.#client?.send("GET", "/v1/keys");
      if (answer?.status === 200) return void this.#stateBackMs.push(elapsed());
      if (life.over) return;
      if (elapsed() > STATE_BACK_MS) break;
      await sleep(20);
    }
    this.#violations.push(`the records are out of reach ${STATE_BACK_MS} ms after PostgreSQL was killed`);
  }

  #obligationBytes(): number {
    const names = readdirSync(this.#obligationsDir);
    return names.reduce((sum, name) => sum + statSync(join(this.#obligationsDir, name)).size, 0);
  }

  async #fillDisk(forMs: number): Promise<void> {
    const filler = join(this.#dataDir, "filler");
    const fd = openSync(filler, "w");
    try {
      for (let piece = Buffer.alloc(1 << 20); piece.length >= 512; ) {
        try {
          writeSync(fd, piece);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          piece = piece.subarray(piece.length >> 1);
        }
      }
      await sleep(forMs);
    } finally {
      closeSync(fd);
      rmSync(filler);
    }
  }

  /** Keys are state: one whose making was answered is there after the crash. */
  async #killWritingState(life: Life): Promise<void> {
    const name = `key-${this.#cycles}`;
    const body = JSON.stringify({ name, scopes: ["query"] });
    const answered = this.#client?.send("POST", "/v1/keys", body).then((answer) => {
      if (answer?.status === 201) this.#keys.push(name);
    });
    await sleep(this.#random.int(0, 15));
    await life.kill();
    await answered;
  }

  async #damage(kind: string): Promise<void> {
    const file = await DAMAGES[kind]?.(this.#dataDir, this.#random);
    if (file === undefined) return;
    this.#count(this.#faults, kind);
    this.#o.say(`cycle ${this.#cycles}: ${kind}, ${file}`);
  }

  /** No more faults: what was sent is acknowledged, what was acknowledged is stored, and what nobody needs is removed. */
  async #heal(): Promise<LedgerHop[]> {
    const startedAt = performance.now();
    const life = this.#start({});
    if (!(await life.untilReady())) {
      this.#violations.push(`the platform does not start any more; see ${this.#dir}/platform.log`);
      this.#crowd?.kill();
      return [];
    }
    this.#recoveriesMs.push(performance.now() - startedAt);
    // A clock that is set back while events come in must not hold anything up.
    await sleep(1000);
    life.jumpClock(-3 * HOUR_MS);
    await sleep(1000);
    await this.#crowd?.stop(60_000);
    const ledger = await this.#drained();
    await this.#delivered();
    await this.#ready();
    await this.#vacuumed(life);
    const listed = JSON.parse((await this.#client?.send("GET", "/v1/keys"))?.body ?? "{}").keys as { name: string }[];
    for (const name of this.#keys) {
      if (!listed.some((key) => key.name === name)) this.#violations.push(`the key ${name} was answered and is gone`);
    }
    const code = await life.stop();
    if (code !== 0) this.#violations.push(`the healed platform ended with ${code}; see ${this.#dir}/platform.log`);
    return ledger;
  }

  /** Waits until nothing is pending, without asking for it; the ledger then. */
  async #drained(): Promise<LedgerHop[]> {
    type Hop = LedgerHop & { pending: number; accepted: number; verified: number };
    let ledger: { balanced: boolean; hops: Hop[] } | undefined;
    for (const deadline = performance.now() + 30_000; performance.now() < deadline; await sleep(100)) {
      const answer = await this.#client?.send("GET", "/v1/ledger");
      ledger = answer?.status === 200 ? JSON.parse(answer.body) : ledger;
      // The recount's finding is part of whether it balances, so it has to have been everywhere.
      if (ledger?.hops.every((hop) => hop.pending === 0 && hop.verified === hop.accepted)) break;
    }
    if (!ledger?.balanced) this.#violations.push(`the ledger is not balanced: ${JSON.stringify(ledger)}`);
    const pending = ledger?.hops.filter((hop) => hop.pending > 0) ?? [];
    if (pending.length > 0)
      this.#violations.push(`30 s after the last event there are pending ones: ${JSON.stringify(pending)}`);
    return ledger?.hops ?? [];
  }

  async #delivered(): Promise<void> {
    let waiting: unknown;
    for (const deadline = performance.now() + 10_000; performance.now() < deadline; await sleep(100)) {
      const answer = await this.#client?.send("GET", "/v1/destinations");
      if (answer?.status !== 200) continue;
      const destinations = JSON.parse(answer.body).destinations as { waiting: number }[];
      waiting = destinations;
      if (destinations.every((destination) => destination.waiting === 0)) return;
    }
    this.#violations.push(`alerts wait for their destination: ${JSON.stringify(waiting)}`);
  }

  async #ready(): Promise<void> {
    let body = "";
    for (const deadline = performance.now() + 10_000; performance.now() < deadline; await sleep(100)) {
      const answer = await this.#client?.send("GET", "/readyz");
      if (answer?.status === 200) return;
      body = answer?.body ?? "no answer";
    }
    this.#violations.push(`the healed platform is not ready: ${body}`);
  }

  /** Hours on, no file may be there that no table needs. */
  async #vacuumed(life: Life): Promise<void> {
    let orphans: string[] = [];
    // Once is enough but for files of a compaction that ends meanwhile.
    for (const hours of [6, 2, 2]) {
      await sleep(500);
      life.jumpClock(hours * HOUR_MS);
      for (const deadline = performance.now() + 10_000; performance.now() < deadline; await sleep(200)) {
        orphans = await this.#orphans();
        if (orphans.length === 0) return;
      }
    }
    this.#violations.push(
      `vacuum left ${orphans.length} files that no table needs, for example ${orphans.slice(0, 3).join(", ")}`,
    );
  }

  async #orphans(): Promise<string[]> {
    const files = filesBelow(this.#dataDir, "lake").filter(
      (path) => path.endsWith(".parquet") && !path.includes("/_delta_log/"),
    );
    const tables = new Set(files.map((path) => path.split("/").slice(1, 3).join(".")));
    const needed = new Set<string>();
    for (const table of tables) for (const file of await neededFiles(this.#dataDir, table)) needed.add(file);
    return files.filter((path) => !needed.has(path));
  }

  #count(counts: Map<string, number>, what: string): void {
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
}
