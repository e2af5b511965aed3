import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { capturedTerminal } from "./captured-terminal.ts";
import { millrace, type Started, startMillrace } from "./running-platform.ts";

/** A project made by `init`, started as a process of its own, and every command run against it. */
describe("a platform started from the command line", { concurrency: false }, () => {
  let dir: string;
  let shop: string;
  let started: Started | undefined;
  const run = (...args: string[]) => millrace(args, { cwd: shop, url: started!.url });
  const json = async <T>(...args: string[]): Promise<T> => {
    const { code, stdout, stderr } = await run(...args, "--json");
    assert.deepEqual([code, stderr], [0, ""], args.join(" "));
    return JSON.parse(stdout) as T;
  };
  const count = async (sql: string): Promise<number> =>
    Number((await json<{ rows: unknown[][] }>("sql", sql)).rows[0]![0]);

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "millrace-start-"));
    shop = join(dir, "shop");
    assert.equal(await runCommandLine(["init", "shop"], capturedTerminal({ cwd: dir }).terminal), 0);
    started = await startMillrace(dir, ["shop", "--port", "0", "--flush-interval", "200ms"]);
  });
  after(async () => {
    started?.process.kill("SIGKILL");
    await started?.ended;
    rmSync(dir, { recursive: true, force: true });
  });

  test("it says where it serves and where the admin key is, which only its owner can read", () => {
    assert.match(started!.printed.stdout, /^ready http:\/\/127\.0\.0\.1:\d+\n/);
    assert.equal(statSync(join(shop, ".millrace/admin.key")).mode & 0o777, 0o600);
  });

  test("importing a file stores its rows, tells what was rejected, and importing it again changes nothing", async () => {
    const rows = Array.from({ length: 2_500 }, (_, i) => `${i},c${i % 7},DE,${i % 100}.5,2026-05-01 10:00:00`);
    rows[10] = "10,c3,Germany,5,2026-05-01 10:00:00";
    rows[11] = rows[12]!;
    writeFileSync(join(shop, "orders.csv"), `OrderId,CustomerId,Country,Amount,PlacedAt\n${rows.join("\n")}\n`);
    const first = await run("import", "orders", "orders.csv");
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /orders: read 2,500 = accepted 2,499 \+ rejected 1\n/);
    assert.match(first.stdout, /row 11: [A-Z_]+: .*country/);
    assert.equal(await count("select count(*) from silver.orders"), 2_498, "one row comes twice");
    const again = await run("import", "silver.orders", "orders.csv", "--strict");
    assert.match(again.stdout, /already imported/);
    assert.equal(again.code, 1, "with --strict rejected rows fail the command");
    assert.equal(await count("select count(*) from bronze.orders"), 2_499);
    assert.equal(await count("select count(*) from system.dead_letters where stage = 'door'"), 1);
  });

  test("an import killed in the middle goes on where it ended, and ends with every row once", async () => {
    const lines = Array.from({ length: 60_000 }, (_, i) =>
      JSON.stringify({
        order_id: `k${i}`,
        customer_id: "k",
        country: "FR",
        amount: 1,
        placed_at: "2026-05-02T00:00:00Z",
      }),
    );
    writeFileSync(join(shop, "killed.ndjson"), lines.join("\n"));
    const bin = fileURLToPath(new URL("../../bin/millrace.js", import.meta.url));
    const env = { ...process.env, MILLRACE_URL: started!.url };
    const child = spawn(process.execPath, [bin, "import", "orders", "killed.ndjson"], {
      cwd: shop,
      env,
      stdio: "ignore",
    });
    const arrived = () =>
      count("select count(*) from bronze.orders where _source like 'import:%' and payload like '%\"k\"%'");
    for (const begun = performance.now(); (await arrived()) === 0; ) assert.ok(performance.now() - begun < 20_000);
    child.kill("SIGKILL");
    await once(child, "exit");
    const before = await arrived();
    assert.ok(before > 0 && before < 60_000, `killed after ${before} rows`);
    const { stdout, code } = await run("import", "orders", "killed.ndjson");
    assert.equal(code, 0);
    assert.match(stdout, /went on after row [\d,]+/);
    assert.match(stdout, /read 60,000 = accepted 60,000 \+ rejected 0/);
    assert.equal(await arrived(), 60_000);
    assert.equal(await count("select count(*) from silver.orders where customer_id = 'k'"), 60_000);
  });

  test("a target that is no stream, or a column that is missing, is named with what there is", async () => {
    assert.match((await run("import", "order", "orders.csv")).stderr, /IMPORT_TARGET_UNCLEAR.*did you mean "orders"/);
    writeFileSync(join(shop, "few.csv"), "OrderId,Country\n1,DE\n");
    const { code, stderr } = await run("import", "orders", "few.csv");
    assert.equal(code, 1);
    assert.match(
      stderr,
      /IMPORT_COLUMN_MISSING: few\.csv has no column for customer_id, amount, placed_at of stream orders/,
    );
  });

  test("status, tables and ledger show what is stored", async () => {
    const status = await run("status");
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /^shop at http:.*\nready\n/);
    assert.match(status.stdout, /silver\.orders +append/);
    assert.match((await run("tables")).stdout, /gold\.sales_daily +refresh/);
    const table = await run("tables", "gold.sales_daily");
    assert.match(table.stdout, /^gold\.sales_daily: refresh/);
    assert.match(table.stdout, /revenue +decimal\(\d+,2\)/);
    const ledger = await run("ledger");
    assert.equal(ledger.code, 0, ledger.stdout);
    assert.match(ledger.stdout, /Every hop balances\.\n$/);
  });

  test("a refresh and a replay give the table they were asked for", async () => {
    const before = (await json<{ rows: unknown[][] }>("sql", "select * from gold.sales_daily order by all")).rows;
    assert.match((await run("refresh", "gold.sales_daily", "--full")).stdout, /gold\.sales_daily recomputed in full/);
    assert.match((await run("replay", "silver.orders")).stdout, /silver\.orders replayed in .*version \d+/);
    assert.deepEqual(
      (await json<{ rows: unknown[][] }>("sql", "select * from gold.sales_daily order by all")).rows,
      before,
    );
    assert.equal((await run("refresh", "gold.nothing")).code, 1);
  });

  test("a key lets in as far as its scopes, until it is revoked", async () => {
    const made = await run("keys", "create", "--name", "report", "--scopes", "query");
    const key = made.stdout.trim();
    assert.equal((await run("sql", "select 1 as n", "--key", key)).code, 0);
    assert.match((await run("keys", "list", "--key", key)).stderr, /^FORBIDDEN/);
    const [, id] = /^mk_([a-z0-9]+)_/.exec(key)!;
    assert.match((await run("keys", "list")).stdout, new RegExp(`${id} +report +query`));
    assert.equal((await run("keys", "revoke", id!)).code, 0);
    assert.match((await run("sql", "select 1 as n", "--key", key)).stderr, /^UNAUTHENTICATED/);
  });

  test("the settings in force are shown with their sources", async () => {
    const { stdout } = await run("config", "--changed");
    assert.match(stdout, /flushIntervalMs +200ms +flag/);
    assert.doesNotMatch(stdout, /maxNesting/);
  });

  test("SIGTERM stores what was acknowledged, stops the database and ends with 0", async () => {
    const server = Number(readFileSync(join(shop, ".millrace/postgres/cluster/postmaster.pid"), "utf8").split("\n")[0]);
    started!.process.kill("SIGTERM");
    assert.equal(await started!.ended, 0, started!.printed.stderr);
    assert.throws(() => process.kill(server, 0), { code: "ESRCH" });
    assert.equal(existsSync(join(shop, ".millrace/postgres/cluster/postmaster.pid")), false);
    started = undefined;
  });

  test("when npm's shell dies of a signal that it does not pass on, the platform stops as well", async () => {
    const bin = fileURLToPath(new URL("../../bin/millrace.js", import.meta.url));
    const line = `"${process.execPath}" "${bin}" start shop --port 0; true`;
    const shell = spawn("sh", ["-c", line], { cwd: dir, env: { ...process.env, npm_command: "exec" } });
    await once(shell.stdout, "data");
    const server = Number(readFileSync(join(shop, ".millrace/postgres/cluster/postmaster.pid"), "utf8").split("\n")[0]);
    shell.kill("SIGTERM");
    // Its output ends when the last process that writes to it has ended.
    await once(shell.stdout.resume(), "close");
    assert.throws(() => process.kill(server, 0), { code: "ESRCH" });
  });

  test("killed with -9 and started again, everything acknowledged is there", async () => {
    started = await startMillrace(dir, ["shop", "--port", "0", "--flush-interval", "1h"]);
    const key = readFileSync(join(shop, ".millrace/admin.key"), "utf8").trim();
    const order = {
      order_id: "last",
      customer_id: "l",
      country: "IT",
      amount: "7.00",
      placed_at: "2026-05-03T00:00:00Z",
    };
    const posted = await fetch(`${started.url}/v1/streams/orders/events`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(order),
    });
    assert.equal(posted.status, 202);
    started.process.kill("SIGKILL");
    await started.ended;
    started = await startMillrace(dir, ["shop", "--port", "0"]);
    assert.equal(await count("select count(*) from silver.orders where order_id = 'last'"), 1);
    started.process.kill("SIGTERM");
    assert.equal(await started.ended, 0);
    started = undefined;
  });

  test("--for with --simulate runs that long, shows sales and ledger, and ends with 0", async () => {
    writeFileSync(
      join(shop, "simulator.ts"),
      `const { MILLRACE_URL, MILLRACE_KEY } = process.env;
       for (let n = 0; ; n += 1) {
         const order = { order_id: "s" + n, customer_id: "s", country: "NL", amount: 2, placed_at: new Date().toISOString() };
         await fetch(MILLRACE_URL + "/v1/streams/orders/events", {
           method: "POST",
           headers: { authorization: "Bearer " + MILLRACE_KEY, "content-type": "application/json" },
           body: JSON.stringify([order, order]),
         });
         await new Promise((done) => setTimeout(done, 20));
       }`,
    );
    writeFileSync(
      join(shop, "millrace.config.ts"),
      `import { defineConfig } from "millrace";
       export default defineConfig({ name: "shop", simulator: "./simulator.ts", modules: ["orders.ts"] });`,
    );
    const run = await startMillrace(dir, [
      "shop",
      "--port",
      "0",
      "--simulate",
      "--for",
      "2s",
      "--flush-interval",
      "200ms",
    ]);
    assert.equal(await run.ended, 0, run.printed.stderr);
    assert.match(run.printed.stdout, /select \* from gold\.sales_daily[\s\S]*NL/);
    assert.match(run.printed.stdout, /Every hop balances\.\n$/);
  });

  test("a simulator that fails is told with its last words, and ends --for at once with 1", async () => {
    writeFileSync(join(shop, "simulator.ts"), 'throw new Error("out of orders");');
    const run = await startMillrace(dir, ["shop", "--port", "0", "--simulate", "--for", "5m"]);
    assert.equal(await run.ended, 1);
    assert.match(run.printed.stdout, /the simulator failed: it ended with 1: .*out of orders/);
  });

  test("a project that is not there, and a port in use, are told in a line with the next step", async () => {
    await assert.rejects(startMillrace(dir, ["nowhere"]), /ended with 1[\s\S]*PROJECT_NOT_FOUND/);
    const first = await startMillrace(dir, ["shop", "--port", "0"]);
    const port = new URL(first.url).port;
    await assert.rejects(startMillrace(dir, ["shop", "--port", port, "--data", join(dir, "other")]), /PORT_IN_USE/);
    await assert.rejects(startMillrace(dir, ["shop", "--port", "0"]), /DATA_FOLDER_IN_USE/);
    first.process.kill("SIGINT");
    assert.equal(await first.ended, 0);
  });
});
