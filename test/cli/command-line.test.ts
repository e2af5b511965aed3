import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { version } from "../../src/cli/version.ts";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { capturedTerminal } from "./captured-terminal.ts";

async function run(args: string[], given: Parameters<typeof capturedTerminal>[0] = {}) {
  const { terminal, written } = capturedTerminal(given);
  const code = await runCommandLine(args, terminal);
  return { code, ...written };
}

describe("help", () => {
  test("no command, help and --help list every command with what it does", async () => {
    for (const args of [[], ["help"], ["--help"], ["-h"]]) {
      const { code, stdout } = await run(args);
      assert.equal(code, 0);
      for (const { name, summary } of COMMANDS) assert.ok(stdout.includes(name) && stdout.includes(summary), name);
    }
  });

  for (const { name, options } of COMMANDS) {
    test(`${name} says how it is used and what each option does`, async () => {
      const { code, stdout, stderr } = await run([name, "--help"]);
      assert.deepEqual([code, stderr], [0, ""]);
      assert.match(stdout, new RegExp(`Usage: millrace ${name}`));
      for (const option of Object.keys({ ...options, json: {}, help: {} }))
        assert.ok(stdout.includes(`--${option}`), option);
      assert.deepEqual(await run(["help", name]), { code, stdout, stderr });
    });
  }

  test("the version is the package's", async () => {
    assert.equal((await run(["--version"])).stdout, `${version()}\n`);
    assert.match(version(), /^\d+\.\d+\.\d+/);
  });
});

describe("wrong usage ends with 2 and says what was meant", () => {
  for (const [args, message] of [
    [["strat"], /no command "strat"; did you mean "start"\?/],
    [["help", "strat"], /no command "strat"/],
    [["sql", "select 1", "--jsn"], /sql has no option --jsn; did you mean "--json"\?/],
    [["sql", "a", "b"], /sql cannot use "b"/],
    [["sql"], /there is no statement/],
    [["sql", "select 1", "--file", "x.sql"], /given twice/],
    [["import", "orders"], /import needs STREAM\|TABLE PATH/],
    [["import", "s", "p", "--map", "x"], /--map is FIELD=COLUMN; got "x"/],
    [["import", "s", "p", "--format", "xls"], /--format is one of csv/],
    [["keys", "crate"], /keys cannot "crate"; did you mean "create"\?/],
    [["keys", "create"], /needs --name and --scopes/],
    [["keys", "revoke"], /needs the ID/],
    [["refresh"], /refresh needs TABLE/],
    [["start", "--for", "30"], /--for is a time such as 30s/],
    [["start", "--port"], /--port needs a value: --port N/],
    [["status", "--json=yes"], /--json takes no value/],
    [["status", "--url", "::::", "--key", "k"], /"::::" is no URL/],
  ] as [string[], RegExp][]) {
    test(`millrace ${args.join(" ")}`, async () => {
      const server = await answering((_request, response) => response.end('{"streams":[{"name":"s"}],"tables":[]}'));
      const env = { MILLRACE_KEY: "k", MILLRACE_URL: server.url };
      const { code, stdout, stderr } = await run(args, { env });
      server.close();
      assert.match(stderr, message);
      assert.deepEqual([code, stdout], [2, ""]);
    });
  }
});

describe("finding the platform", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "millrace-cli-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test("a platform that is not there is named with the way to start one", async () => {
    const { code, stderr } = await run(["status", "--url", "http://127.0.0.1:1", "--key", "k"]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /PLATFORM_UNREACHABLE: no platform answers at http:\/\/127\.0\.0\.1:1: the connection was refused\n\s+Start one with `millrace start`/,
    );
  });

  test("with --json an error is the error object of the HTTP answers", async () => {
    const { code, stdout, stderr } = await run(["status", "--url", "127.0.0.1:1", "--key", "k", "--json"]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.equal(JSON.parse(stderr).error.code, "PLATFORM_UNREACHABLE");
  });

  test("the flag goes before the environment, that before the local data folder's key", async () => {
    const keys: (string | undefined)[] = [];
    const server = await answering((request, response) => {
      keys.push(request.headers.authorization);
      response.end('{"settings":[]}');
    });
    mkdirSync(join(dir, ".millrace"), { recursive: true });
    writeFileSync(join(dir, ".millrace/admin.key"), "local\n");
    const MILLRACE_URL = server.url;
    await run(["config", "--key", "flag"], { cwd: dir, env: { MILLRACE_URL, MILLRACE_KEY: "env" } });
    await run(["config"], { cwd: dir, env: { MILLRACE_URL, MILLRACE_KEY: "env" } });
    await run(["config"], { cwd: dir, env: { MILLRACE_URL } });
    server.close();
    assert.deepEqual(keys, ["Bearer flag", "Bearer env", "Bearer local"]);
  });

  test("in a checkout the key of the example started last is used", async () => {
    const keys: (string | undefined)[] = [];
    const server = await answering((request, response) => {
      keys.push(request.headers.authorization);
      response.end('{"settings":[]}');
    });
    const checkout = join(dir, "checkout");
    for (const [name, seconds] of [
      ["securecart", 2_000],
      ["fleet", 1_000],
    ] as const) {
      mkdirSync(join(checkout, `examples/${name}/.millrace`), { recursive: true });
      writeFileSync(join(checkout, `examples/${name}/.millrace/admin.key`), name);
      utimesSync(join(checkout, `examples/${name}/.millrace/admin.key`), seconds, seconds);
    }
    writeFileSync(join(checkout, "package.json"), '{"name":"millrace"}');
    await run(["config", "--url", server.url], { cwd: checkout });
    writeFileSync(join(checkout, "package.json"), '{"name":"something-else"}');
    const { stderr } = await run(["config", "--url", server.url], { cwd: checkout });
    server.close();
    assert.deepEqual(keys, ["Bearer securecart"]);
    assert.match(stderr, /PLATFORM_KEY_MISSING.*no file \.millrace\/admin\.key/);
  });

  test("the local admin key is never sent to another machine", async () => {
    const { code, stderr } = await run(["config", "--url", "https://example.com"], { cwd: dir });
    assert.equal(code, 1);
    assert.match(stderr, /PLATFORM_KEY_MISSING.*local platforms only/);
  });

  test("what the platform refuses is told with its own code, message and hint", async () => {
    const error = { code: "SQL_SYNTAX", message: "the SQL does not parse", hint: "Correct it." };
    const server = await answering((_request, response) => {
      response.statusCode = 400;
      response.end(JSON.stringify({ error }));
    });
    const { code, stderr } = await run(["sql", "selec", "--url", server.url, "--key", "k"]);
    server.close();
    assert.deepEqual([code, stderr], [1, "SQL_SYNTAX: the SQL does not parse\n  Correct it.\n"]);
  });

  test("an answer that no platform gives is shown for what it is", async () => {
    const server = await answering((_request, response) => response.writeHead(200).end("<html>nginx</html>"));
    const { code, stderr } = await run(["status", "--url", server.url, "--key", "k"]);
    server.close();
    assert.equal(code, 1);
    assert.match(
      stderr,
      /PLATFORM_ANSWER_STRANGE: .* answered 200, and not as a platform would: "<html>nginx<\/html>"/,
    );
  });
});

describe("sql", () => {
  const answer = {
    columns: [
      { name: "day", type: "DATE" },
      { name: "revenue", type: "DECIMAL(38,3)" },
    ],
    rows: [
      ["2011-12-09", "32131.530"],
      ["2011-12-08", null],
    ],
    rowCount: 2,
    elapsedMs: 12,
  };

  test("the answer is a table with a line about it; the statement and its values are sent as given", async () => {
    let sent = "";
    const server = await answering(async (request, response) => {
      for await (const chunk of request) sent += chunk;
      response.end(JSON.stringify(answer));
    });
    const args = [
      "sql",
      "select $1",
      "--param",
      "5",
      "--param",
      "DE",
      "--param",
      "null",
      "--param",
      '"7"',
      "--param",
      "[1",
    ];
    const { code, stdout } = await run([...args, "--url", server.url, "--key", "k"]);
    server.close();
    assert.deepEqual(JSON.parse(sent), { sql: "select $1", params: [5, "DE", null, "7", "[1"] });
    assert.equal(code, 0);
    assert.equal(
      stdout,
      "day           revenue\n──────────  ─────────\n2011-12-09  32131.530\n2011-12-08          –\n2 rows in 12 ms\n",
    );
  });

  test("a statement comes from the standard input or a file as well; --json passes the answer on, --csv asks for CSV", async () => {
    const asked: (string | undefined)[] = [];
    const server = await answering(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      asked.push(JSON.parse(body).sql, request.headers.accept);
      response.end(request.headers.accept === "text/csv" ? "day\n1\n" : JSON.stringify(answer));
    });
    const env = { MILLRACE_URL: server.url, MILLRACE_KEY: "k" };
    const json = await run(["sql", "-", "--json"], { env, stdin: "select 1" });
    const csv = await run(["sql", "--file", "-", "--csv"], { env, stdin: "select 2" });
    server.close();
    assert.deepEqual(JSON.parse(json.stdout), answer);
    assert.equal(csv.stdout, "day\n1\n");
    assert.deepEqual(asked, ["select 1", undefined, "select 2", "text/csv"]);
  });
});

describe("init", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "millrace-init-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test("writes a project that loads: a stream, a silver and a gold table", async () => {
    const { code, stdout } = await run(["init", "My Shop"], { cwd: dir });
    assert.equal(code, 0);
    assert.match(stdout, /millrace start My Shop/);
    const inspector = await openDuckdbInspector();
    const project = await loadProject(join(dir, "My Shop"), inspector).finally(() => inspector.close());
    assert.equal(project.name, "my-shop");
    assert.deepEqual([...project.streams.keys()], ["orders"]);
    assert.deepEqual([...project.tables.keys()].sort(), ["gold.sales_daily", "silver.orders"]);
    assert.match(readFileSync(join(dir, "My Shop/README.md"), "utf8"), /^# my-shop\n/);
  });

  test("overwrites nothing", async () => {
    writeFileSync(join(dir, "orders.ts"), "mine");
    const { code, stderr } = await run(["init"], { cwd: dir });
    assert.equal(code, 1);
    assert.match(stderr, /FOLDER_NOT_EMPTY: \. already holds orders\.ts/);
    assert.equal(readFileSync(join(dir, "orders.ts"), "utf8"), "mine");
    assert.deepEqual(readdirSync(dir).sort(), ["My Shop", "orders.ts"]);
  });
});

async function answering(handle: (request: IncomingMessage, response: ServerResponse) => unknown) {
  const server = createServer(handle).listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${port}`, close };
}
