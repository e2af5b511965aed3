/** Functions in a running platform: what they emit, keep and cannot take, through restarts and kills. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { millrace, RunningPlatform } from "../platform/running-platform.ts";

const ROOT = join(import.meta.dirname, "../..");
const PROJECT = "test/react/projects/functions";

interface FunctionAnswer {
  readonly functions: readonly {
    readonly name: string;
    readonly partitions: readonly {
      readonly position: number;
      readonly pending: number;
      readonly handled: number;
      readonly deadLettered: number;
      readonly restarts: number;
      readonly problem: string | null;
    }[];
  }[];
}

async function functionsOf(platform: RunningPlatform) {
  return (await platform.get<FunctionAnswer>("/v1/functions")).body.functions;
}

/** Resolves once every function has handled everything. */
async function handled(platform: RunningPlatform): Promise<void> {
  for (let look = 0; ; look++) {
    const functions = await functionsOf(platform);
    if (functions.every(({ partitions }) => partitions.every(({ pending }) => pending === 0))) return;
    assert.ok(look < 1000, JSON.stringify(functions));
    await sleep(20);
  }
}

function readings(from: number, count: number, sensors = 3) {
  return Array.from({ length: count }, (_, i) => ({
    id: `r${from + i}`,
    sensor: `s${(from + i) % sensors}`,
    n: from + i,
  }));
}

async function folder(t: { after(work: () => Promise<void>): void }): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "millrace-functions-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test("what functions emit is in the target streams at once, each once, and state goes on over a restart", async (t) => {
  const dir = await folder(t);
  let platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
  try {
    assert.equal((await platform.post("readings", readings(0, 30))).status, 202);
    await handled(platform);
    const sums = "select sensor, max(sum), count(*) from totals group by all order by all";
    assert.deepEqual(await platform.sql(sums), [
      ["s0", 135, 10],
      ["s1", 145, 10],
      ["s2", 155, 10],
    ]);
    assert.deepEqual(await platform.sql("select total_id from totals where n = 4"), [["summing/readings/0-4/0"]]);
    assert.deepEqual(await platform.sql("select count(*), count(distinct n) from notes"), [[30, 30]]);
    const order =
      "select sensor from (select sensor, n < lag(n) over (partition by sensor order by _offset) as back from notes) where back";
    assert.deepEqual(await platform.sql(order), []);
    await platform.stop();
    platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
    await platform.post("readings", readings(30, 3));
    await handled(platform);
    assert.deepEqual(await platform.sql(sums), [
      ["s0", 165, 11],
      ["s1", 176, 11],
      ["s2", 187, 11],
    ]);
    const table =
      "select function, position, pending, handled, dead_lettered, problem from system.functions order by 1";
    assert.deepEqual((await platform.sql(table))[3], ["summing", 33, 0, 33, 0, null]);
  } finally {
    await platform.stop();
  }
});

interface Letter {
  readonly id: string;
  readonly table: string;
  readonly stage: string;
  readonly code: string;
  readonly message: string;
  readonly status: string;
  readonly attempts: number;
}

async function lettersOf(platform: RunningPlatform, query = ""): Promise<readonly Letter[]> {
  const { body } = await platform.get<{ deadLetters: Letter[] }>(`/v1/dead-letters${query}`);
  return body.deadLetters;
}

test("whatever a function does to an event, the event is a dead letter with the reason, and all others are handled", async (t) => {
  const dir = await folder(t);
  const broken = join(dir, "broken");
  await writeFile(broken, "");
  const platform = await RunningPlatform.start(PROJECT, join(dir, "data"), [], { BROKEN_FILE: broken });
  try {
    const modes = ["throw", "throw while broken", "hang", "spin", "nonsense", "refused", "slow", "bad batch"];
    const events = readings(0, 120).map((event, i) => (i % 10 === 5 ? { ...event, mode: modes[(i - 5) / 10] } : event));
    await platform.post("readings", events);
    await handled(platform);
    const letters = await lettersOf(platform);
    const told = letters.map(({ stage, table, code, id }) => `${stage} ${table ?? "-"} ${code} ${id}`).sort();
    assert.deepEqual(told, [
      "door - EVENT_INVALID totals/door/failing/readings/0/55/0",
      "react batching FUNCTION_FAILED readings/0/75/react/batching",
      "react failing FUNCTION_FAILED readings/0/15/react/failing",
      "react failing FUNCTION_FAILED readings/0/5/react/failing",
      "react failing FUNCTION_RETURNED readings/0/45/react/failing",
      "react failing FUNCTION_TIMEOUT readings/0/25/react/failing",
      "react failing REACT_TIMEOUT readings/0/35/react/failing",
    ]);
    const thrown = letters.find(({ id }) => id === "readings/0/5/react/failing");
    assert.match(
      thrown?.message ?? "",
      /"failing" threw Error: as it was asked to at reactions\.ts:\d+ \(2 attempts\)$/,
    );
    // The others' work is whole: nothing held up, nothing of the failed attempts kept.
    assert.deepEqual(await platform.sql("select count(*), count(distinct n) from notes"), [[120, 120]]);
    assert.deepEqual(await platform.sql("select count(*), sum(n) from totals"), [[120, 7140]]);
    const ledger =
      "select hop, accepted, stored, filtered, dead_lettered, pending, balanced from system.ledger where hop like 'function%' order by 1";
    assert.deepEqual(await platform.sql(ledger), [
      ["function.batching", 120, 119, 0, 1, 0, true],
      ["function.failing", 120, 115, 0, 5, 0, true],
      ["function.noting", 120, 120, 0, 0, 0, true],
      ["function.summing", 120, 120, 0, 0, 0, true],
    ]);

    // The receipt tells of each function.
    const receipt = await platform.get<{
      arrivals: { functions: { function: string; fate: string; code?: string }[] }[];
    }>("/v1/streams/readings/events/r15");
    assert.deepEqual(
      receipt.body.arrivals[0]?.functions.map(({ function: name, fate, code }) => [name, fate, code]),
      [
        ["summing", "handled", undefined],
        ["noting", "handled", undefined],
        ["batching", "handled", undefined],
        ["failing", "dead-lettered", "FUNCTION_FAILED"],
      ],
    );
    const where = await platform.command("where", "r15", "--stream", "readings");
    assert.match(
      where.stdout,
      /failing +dead-lettered +FUNCTION_FAILED: the function "failing" threw Error: still broken/,
    );

    // Retried while nothing has changed, it stays; after a fix, it is done once, however often it is asked for.
    const retry = ["dead-letters", "retry", "--stage", "react", "--table", "failing", "--json"];
    assert.equal((await platform.command(...retry, "readings/0/15/react/failing")).code, 2);
    const again = await platform.command("dead-letters", "retry", "readings/0/15/react/failing", "--json");
    assert.match(again.stdout, /"outcome": ?"failed"/);
    await rm(broken);
    const mended = await platform.command("dead-letters", "retry", "readings/0/15/react/failing", "--json");
    assert.match(mended.stdout, /"outcome": ?"stored"/);
    assert.deepEqual(await platform.sql("select total_id, n from totals where sensor = 'mended'"), [
      ["failing/readings/0-15/0", 15],
    ]);
    const [letter] = (await lettersOf(platform, "?stage=react&table=failing")).filter(({ id }) => id.includes("/15/"));
    assert.deepEqual([letter?.status, letter?.attempts], ["retried", 3]);
    assert.deepEqual((await platform.sql(ledger))[1], ["function.failing", 120, 116, 0, 4, 0, true]);
    // A retry that hangs the thread fails by itself, and the others go on.
    const spun = await platform.command("dead-letters", "retry", "readings/0/35/react/failing", "--json");
    assert.equal(spun.code, 1, spun.stdout);
    await platform.post("readings", readings(120, 3));
    await handled(platform);
    assert.deepEqual(await platform.sql("select count(*), count(distinct n) from notes"), [[123, 123]]);
    const discarded = await platform.command(
      "dead-letters",
      "discard",
      "--code",
      "REACT_TIMEOUT",
      "--reason",
      "spins",
      "--json",
    );
    assert.equal(discarded.code, 0, discarded.stderr);
    assert.equal((await lettersOf(platform, "?stage=react&status=discarded")).length, 1);
    const unknown = await platform.command("dead-letters", "list", "--table", "nothing");
    assert.match(unknown.stderr, /TABLE_UNKNOWN/);

    const status = await platform.command("status");
    assert.match(status.stdout, /failing +readings +11\d +\d +/);
    const metrics = await (await fetch(`${platform.url}/metrics`)).text();
    assert.match(metrics, /millrace_reaction_lag_events\{operator="summing",stream="readings",partition="0"\} 0/);
    assert.match(
      metrics,
      /millrace_reaction_dead_lettered_events\{operator="batching",stream="readings",partition="0"\} 1/,
    );
  } finally {
    await platform.stop();
  }
});

/** Every event of a stream's log. */
async function logOf(platform: RunningPlatform, stream: string): Promise<Record<string, unknown>[]> {
  const events: Record<string, unknown>[] = [];
  for (;;) {
    const path = `${platform.url}/v1/streams/${stream}/events?partition=0&from=${events.length}&limit=1000`;
    const response = await fetch(path, { headers: { authorization: `Bearer ${platform.key}` } });
    const lines = (await response.text()).split("\n").filter((line) => line !== "");
    if (lines.length === 0) return events;
    for (const line of lines) events.push(JSON.parse(line));
  }
}

test("a platform killed again and again in the middle of it has each emitted event once, in the target's log as in its table", async (t) => {
  const dir = await folder(t);
  const start = () => RunningPlatform.start(PROJECT, join(dir, "data"));
  let platform = await start();
  let sent = 0;
  try {
    for (let life = 0; life < 2; life++) {
      const killed = sleep(300 + Math.random() * 700).then(() => platform.stop("SIGKILL"));
      for (let going = true; going; ) {
        const batch = readings(sent, 50, 7);
        // What got no answer is sent again in the next life, as every sender does; it may have arrived.
        going = await platform.post("readings", batch).then(
          ({ status }) => status === 202,
          () => false,
        );
        if (going) sent += batch.length;
      }
      await killed;
      platform = await start();
    }
    await platform.post("readings", readings(sent, 50, 7));
    sent += 50;
    await handled(platform);
    const wanted = readings(0, sent, 7);
    const sums = new Map<string, number>();
    const expected = wanted.map(({ sensor, n }) => {
      const sum = (sums.get(sensor) ?? 0) + n;
      sums.set(sensor, sum);
      return { sensor, n, sum };
    });
    const totals = await logOf(platform, "totals");
    assert.equal(new Set(totals.map((total) => total["total_id"])).size, totals.length);
    assert.deepEqual(
      totals.map(({ sensor, n, sum }) => ({ sensor, n, sum })),
      expected,
    );
    const notes = await logOf(platform, "notes");
    assert.deepEqual(
      notes.map(({ n }) => n as number).sort((a, b) => a - b),
      wanted.map(({ n }) => n),
    );
    for (const sensor of sums.keys()) {
      const own = notes.filter((note) => note["sensor"] === sensor).map(({ n }) => n as number);
      assert.deepEqual(
        own,
        own.toSorted((a, b) => a - b),
        "the order of a key",
      );
    }
    assert.deepEqual(await platform.sql("select count(*), count(distinct total_id), sum(n) from silver.totals"), [
      [sent, sent, (sent * (sent - 1)) / 2],
    ]);
    assert.deepEqual(await platform.sql("select count(*), count(distinct n) from notes"), [[sent, sent]]);
    const unbalanced =
      "select * from system.ledger where hop like 'function.%' and (not balanced or pending > 0 or dead_lettered > 0)";
    assert.deepEqual(await platform.sql(unbalanced), []);
  } finally {
    await platform.stop();
  }
});

test("a changed function goes on where it was, a new one begins where it says, and one that its state does not fit is refused", async (t) => {
  const dir = await folder(t);
  const project = join(dir, "project");
  await mkdir(project);
  const write = (name: string, text: string) => writeFile(join(project, name), text);
  await write(
    "millrace.config.ts",
    'import { defineConfig } from "millrace";\nexport default defineConfig({ name: "p" });',
  );
  await write(
    "streams.ts",
    `import { stream, z } from "millrace";
    export const clicks = stream("clicks", { schema: z.object({ user: z.string(), n: z.int() }), key: "user" });
    export const counts = stream("counts", { schema: z.object({ who: z.string(), n: z.int(), count: z.int() }) });`,
  );
  const reactions = (state: string, more = "") =>
    write(
      "reactions.ts",
      `import { on, z } from "millrace";
      import { clicks, counts } from "./streams.ts";
      export const counting = on(clicks, { ${state}, emits: [counts] }, ({ n }, ctx) => {
        const count = (ctx.state.get()?.count ?? 0) + 1;
        ctx.state.set({ count });
        ctx.emit(counts, { who: "counting", n, count });
      });${more}`,
    );
  const start = () => RunningPlatform.start(relative(ROOT, project), join(dir, "data"));
  const clicks = (from: number) => [0, 1].map((i) => ({ user: "u", n: from + i }));
  await reactions("state: z.object({ count: z.int() })");
  let platform = await start();
  try {
    await platform.post("clicks", clicks(0));
    await handled(platform);
    await platform.stop();
    await reactions("state: z.object({ count: z.number() })");
    await assert.rejects(start(), /FUNCTION_CHANGED[\s\S]*"count" of the state[\s\S]*version: 2/);
    await reactions(
      "version: 2, state: z.object({ count: z.number() })",
      `
      export const fromNow = on(clicks, ({ n }, ctx) => ctx.emit(counts, { who: "now", n, count: 0 }));
      export const fromBeginning = on(clicks, { from: "beginning" }, ({ n }, ctx) => ctx.emit(counts, { who: "beginning", n, count: 0 }));`,
    );
    platform = await start();
    await platform.post("clicks", clicks(2));
    await handled(platform);
    assert.deepEqual(
      await platform.sql(
        "select who, list(n order by _offset), list(count order by _offset) from counts group by 1 order by 1",
      ),
      [
        ["beginning", [0, 1, 2, 3], [0, 0, 0, 0]],
        ["counting", [0, 1, 2, 3], [1, 2, 1, 2]],
        ["now", [2, 3], [0, 0]],
      ],
    );
    assert.deepEqual(
      await platform.sql(
        "select hop, stored, filtered, pending from system.ledger where hop like 'function.%' order by 1",
      ),
      [
        ["function.counting", 4, 0, 0],
        ["function.fromBeginning", 4, 0, 0],
        ["function.fromNow", 2, 2, 0],
      ],
    );
    const where = await platform.command("where", "0-1", "--stream", "clicks");
    assert.match(where.stdout, /fromNow +filtered +from before the function began/);
    await platform.stop();
    // Without functions there is nothing that needs them, and no thread.
    await rm(join(project, "reactions.ts"));
    platform = await start();
    assert.deepEqual(await functionsOf(platform), []);
    assert.deepEqual(await platform.sql("select count(*) from counts"), [[10]]);
  } finally {
    await platform.stop();
  }
});

test("a backup made while events come has the state of functions as of its events, and what they emitted once", async (t) => {
  const dir = await folder(t);
  const backups = join(dir, "backups");
  await mkdir(backups);
  const first = await RunningPlatform.start(PROJECT, join(dir, "data"));
  try {
    await first.post("readings", readings(0, 200, 2));
    let going = true;
    const sending = (async () => {
      for (let n = 200; going; n += 20) await first.post("readings", readings(n, 20, 2));
    })();
    const made = await first.command("backup", backups, "--json");
    going = false;
    await sending;
    assert.equal(made.code, 0, made.stderr);
  } finally {
    await first.stop();
  }
  const restored = await millrace(["restore", backups, "--data", join(dir, "restored"), "--json"]);
  assert.equal(restored.code, 0, restored.stderr);
  const second = await RunningPlatform.start(PROJECT, join(dir, "restored"));
  try {
    const known = Number((await second.sql("select count(*) from readings"))[0]?.[0]);
    assert.ok(known >= 200, `${known} events`);
    await second.post("readings", readings(known, 2, 2));
    await handled(second);
    const totals = await logOf(second, "totals");
    const sums = new Map<string, number>();
    assert.deepEqual(
      totals.map(({ sensor, n, sum }) => ({ sensor, n, sum })),
      readings(0, known + 2, 2).map(({ sensor, n }) => {
        const sum = (sums.get(sensor) ?? 0) + n;
        sums.set(sensor, sum);
        return { sensor, n, sum };
      }),
    );
    assert.deepEqual(await second.sql("select count(*), count(distinct n) from notes"), [[known + 2, known + 2]]);
  } finally {
    await second.stop();
  }
});
