/** How long a start takes after a kill, against the amount of events that no table had yet. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { endPostgres, freePort, Life } from "./child.ts";
import { Client } from "./client.ts";
import { segments } from "./damage.ts";
import { Random } from "./random.ts";
import { Lane } from "./traffic.ts";

const MIB = 1 << 20;
const AMOUNTS = [0, 64 * MIB, 256 * MIB, 1024 * MIB];
/** Some 700 KiB a request. */
const BATCH = 4000;
const MOST_ATTEMPTS = 10;

/** Prints a row for each amount: bytes and events not stored, time until it serves, time until its first query is answered. */
export async function measureRecovery(
  say: (line: string) => void,
  amounts: readonly number[] = AMOUNTS,
): Promise<void> {
  say("| Not stored | Events | Ready after | First query answered after |");
  say("| --- | --- | --- | --- |");
  for (const amount of amounts) say(await measure(amount));
}

async function measure(amount: number): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "millrace-recovery-"));
  const dataDir = join(dir, "data");
  mkdirSync(dataDir);
  const options = { dataDir, port: await freePort(), logFile: join(dir, "platform.log") };
  try {
    const before = new Life({ ...options, settings: { flushIntervalMs: 86_400_000, flushBytes: 8 * 1024 * MIB } }, {});
    await started(before, options.logFile);
    const client = new Client(options.port, readFileSync(join(dataDir, "admin.key"), "utf8").trim());
    const events = await fill(client, dataDir, amount);
    const bytes = logBytes(dataDir);
    await before.kill();

    const startedAt = performance.now();
    const after = new Life({ ...options, settings: {} }, {});
    await started(after, options.logFile);
    const readyMs = performance.now() - startedAt;
    const rows = await count(client);
    const answeredMs = performance.now() - startedAt;
    await after.kill();
    if (rows !== events) throw new Error(`${events} events were acknowledged, ${rows} were there after the kill`);
    const cells = [
      `${Math.round(bytes / MIB)} MiB`,
      events.toLocaleString("en-US"),
      seconds(readyMs),
      seconds(answeredMs),
    ];
    return `| ${cells.join(" | ")} |`;
  } finally {
    endPostgres(dataDir);
    rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function started(life: Life, logFile: string): Promise<void> {
  if (!(await life.untilReady(120_000))) throw new Error(`the platform does not start; see ${logFile}`);
}

/** Sends payments until the log has so many bytes; how many were acknowledged. */
async function fill(client: Client, dataDir: string, amount: number): Promise<number> {
  const lane = new Lane("recovery", new Random(1));
  let events = 0;
  while (logBytes(dataDir) < amount) {
    const lines = Array.from({ length: BATCH }, () => lane.event("payments").text);
    const answer = await client.send(
      "POST",
      "/v1/streams/payments/events",
      `${lines.join("\n")}\n`,
      "application/x-ndjson",
    );
    if (answer?.status !== 202) throw new Error(`a batch was not taken: ${JSON.stringify(answer)}`);
    events += BATCH;
  }
  return events;
}

/** Asked again while the answer is that it takes longer than a query may. */
async function count(client: Client): Promise<number> {
  const sql = JSON.stringify({ sql: "select count(*)::double from bronze.payments", timeoutMs: 60_000 });
  for (let attempt = 0; ; attempt++) {
    const answer = await client.send("POST", "/v1/sql", sql, "application/json", 90_000);
    if (answer?.status === 200) return JSON.parse(answer.body).rows[0][0];
    if (attempt === MOST_ATTEMPTS) throw new Error(`the query was not answered: ${JSON.stringify(answer)}`);
    await sleep(100);
  }
}

function logBytes(dataDir: string): number {
  const files = segments(dataDir, "all").filter((path) => path.startsWith("log/payments/"));
  return files.reduce((sum, path) => sum + statSync(join(dataDir, path)).size, 0);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
