/** BI users as people make them, with psql and a JDBC client against the real platform: `npm run test:bi`. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { RunningPlatform } from "../platform/running-platform.ts";
import { CATALOGUE_QUERIES } from "../serve/catalogue-queries.ts";
import { jdbcDriver, need } from "./install.ts";

const FLAGS = ["--bi-port", "0", "--flush-interval", "50ms", "--refresh-debounce", "10ms"];

interface Made {
  readonly password: string;
  readonly address: { readonly host: string; readonly port: number; readonly database: string };
}

describe("clients of the published tables", { concurrency: false }, () => {
  let dir: string;
  let platform: RunningPlatform;
  let user: Made;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "millrace-bi-"));
    platform = await RunningPlatform.start("test/serve/projects/served", dir, FLAGS);
    await platform.post("sales", [
      { day: "2026-01-01", country: "DE", amount: "10.50" },
      { day: "2026-01-02", country: "FR", amount: "1.00" },
    ]);
    await published(platform);
    const made = await platform.command("bi-users", "create", "tool", "--json");
    assert.equal(made.code, 0, made.stderr);
    user = JSON.parse(made.stdout) as Made;
  });
  after(async () => {
    await platform?.stop();
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  });

  test("psql shows tables, comments and rows, and runs the catalogue queries of BI tools", () => {
    need("psql", "postgresql-client");
    const psql = (...args: readonly string[]) => {
      const { host, port, database } = user.address;
      const at = ["-X", "-A", "-h", host, "-p", String(port), "-U", "tool", "-d", database];
      return spawnSync("psql", [...at, ...args], {
        encoding: "utf8",
        env: { ...process.env, PGPASSWORD: user.password },
      });
    };
    assert.equal(
      psql("-c", "select country, revenue from daily order by day").stdout,
      "country|revenue\nDE|10.50\nFR|1.00\n(2 rows)\n",
    );
    const tables = psql("-c", "\\dt+ *.*").stdout;
    assert.match(tables, /gold\|daily\|table\|millrace\|.*Sales by day, in the shop's words/);
    const described = psql("-c", "\\d+ gold.daily");
    assert.match(described.stdout, /revenue\|numeric\(18,2\)\|.*In EUR, without tax/);
    assert.match(described.stdout, /"daily_pkey" PRIMARY KEY, btree \(day, country\)/);
    for (const { tool, what, sql } of CATALOGUE_QUERIES) {
      const { status, stderr } = psql("-v", "ON_ERROR_STOP=1", "-c", sql);
      assert.equal(status, 0, `${tool}, ${what}: ${stderr}`);
    }
    const copied = psql("-c", "\\copy gold.daily to stdout csv header");
    assert.match(copied.stdout, /^day,country,orders,revenue\n2026-01-01,DE,1,10.50\n/);
    assert.match(psql("-c", "select * from millrace_serving.publications").stderr, /permission denied/);
  });

  test("a JDBC client reads the metadata as BI tools on the JVM do, and rows through a cursor", () => {
    need("java", "default-jdk-headless");
    const { host, port, database } = user.address;
    const url = `jdbc:postgresql://${host}:${port}/${database}`;
    const program = join(import.meta.dirname, "Catalogue.java");
    const ran = spawnSync("java", ["-cp", jdbcDriver(), program, url, "tool", user.password], { encoding: "utf8" });
    assert.equal(ran.status, 0, ran.stderr);
    const lines = new Set(ran.stdout.split("\n"));
    for (const line of [
      "product PostgreSQL",
      "schema gold",
      "schema reports",
      "table gold | daily | TABLE | Sales by day, in the shop's words",
      "table silver | accounts | TABLE | null",
      "column day | date | 13 | 0 | NO | null",
      "column revenue | numeric | 18 | 2 | YES | In EUR, without tax",
      "key day | 1 | daily_pkey",
      "key country | 2 | daily_pkey",
      "index daily_country_idx | country | t",
      "type jsonb",
      "privilege millrace_bi | SELECT",
      "result day java.sql.Date",
      "result revenue java.math.BigDecimal",
      "row 2026-01-01 DE 1 10.50",
      "row 2026-01-02 FR 1 1.00",
      "refused 25006",
    ])
      assert.ok(lines.has(line), `${line} is not in\n${ran.stdout.replaceAll(/^type .*\n/gm, "")}`);
    // PostgreSQL shows everybody the names of all tables of a database, and this one has no records but those of publications.
    const own = [...lines].filter((line) => /^table (millrace|pgboss)/.test(line));
    assert.deepEqual(own, ["table millrace_serving | publications | TABLE | null"]);
  });

  test("the command lists users and revokes them", async () => {
    const listed = await platform.command("bi-users", "list");
    assert.match(listed.stdout, /tool\s+0/);
    assert.equal((await platform.command("bi-users", "revoke", "tool")).code, 0);
    assert.equal((await platform.command("bi-users", "revoke", "tool")).code, 1);
  });
});

async function published(platform: RunningPlatform): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const behind = await platform.sql(
      "select count(*) from system.ledger where hop = 'publish' and (versions_behind > 0 or (stream = 'gold.daily' and stored < 2))",
    );
    if (behind[0]?.[0] === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail("nothing was published within a minute");
}
