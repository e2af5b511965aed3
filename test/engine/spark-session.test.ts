import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { parseSparkUrl, type SparkAddress } from "../../src/engine/spark/spark-address.ts";
import { openSparkEngine, type SparkEngine } from "../../src/engine/spark/spark-engine.ts";
import { complete, fails, SCHEMA, type Script, ScriptedServer } from "./spark-scripted-server.ts";

const STATEMENT = { sql: "select 1", inputs: new Map(), spark: { sql: "select 1 as n", columns: [] } };

async function serverOf(t: TestContext, script: Script): Promise<{ server: ScriptedServer; engine: SparkEngine }> {
  const server = await ScriptedServer.start(script);
  t.after(() => server.stop());
  return { server, engine: engineAt(t, server.address) };
}

function engineAt(t: TestContext, address: SparkAddress): SparkEngine {
  const engine = openSparkEngine({ address, parse: async () => ({}) });
  t.after(() => engine.close());
  return engine;
}

async function run(engine: SparkEngine, options = {}): Promise<number> {
  let rows = 0;
  for await (const batch of (await engine.query(STATEMENT, options)).batches) rows += batch.length;
  return rows;
}

test("a Spark address is read as Spark's clients write it, and what is none is told", () => {
  assert.deepEqual(parseSparkUrl("sc://spark.example.com"), {
    ...{ host: "spark.example.com", port: 15_002, tls: false, token: undefined, userId: "millrace", headers: {} },
  });
  assert.deepEqual(parseSparkUrl("sc://h:1/;token=a%3Db;x-team=data;user_id=me"), {
    ...{ host: "h", port: 1, tls: true, token: "a=b", userId: "me", headers: { "x-team": "data" } },
  });
  assert.equal((parseSparkUrl("sc://127.0.0.1:15002/;token=s") as SparkAddress).tls, false);
  assert.equal((parseSparkUrl("sc://h/;token=s;use_ssl=false") as SparkAddress).tls, false);
  for (const bad of ["http://h", "sc://", "sc://h:99999", "sc://h/;token", "sc://h/;use_ssl=yes", "sc://h/path"])
    assert.equal(typeof parseSparkUrl(bad), "string", bad);
});

test("nobody at the address is an unavailable Spark, named without its token", async (t) => {
  const server = await ScriptedServer.start({});
  server.stop();
  const engine = engineAt(t, { ...server.address, token: "secret" });
  await assert.rejects(run(engine), (error: Error & { code: string }) => {
    assert.equal(error.code, "SPARK_UNAVAILABLE");
    assert.match(error.message, new RegExp(`sc://127.0.0.1:${server.address.port}`));
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test("a port that speaks something else is an unavailable Spark", async (t) => {
  const web = createServer((_, response) => response.end("hello"));
  await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
  t.after(() => web.close());
  const { port } = web.address() as AddressInfo;
  await assert.rejects(
    run(engineAt(t, { host: "127.0.0.1", port, tls: false, token: undefined, userId: "x", headers: {} })),
    { code: "SPARK_UNAVAILABLE" },
  );
});

test("a refused token, an old version and a server that knows no Spark Connect have names of their own", async (t) => {
  const refused = await serverOf(t, { refuse: { code: status.UNAUTHENTICATED, details: "Invalid token" } });
  await assert.rejects(run(refused.engine), { code: "SPARK_REFUSED" });
  const old = await serverOf(t, { version: "3.5.4" });
  await assert.rejects(run(old.engine), { code: "SPARK_UNSUPPORTED", message: /3\.5\.4/ });
  const other = await serverOf(t, { refuse: { code: status.UNIMPLEMENTED, details: "unknown service" } });
  await assert.rejects(run(other.engine), { code: "SPARK_UNSUPPORTED" });
});

test("the session has the settings under which Spark computes what DuckDB does", async (t) => {
  const { server, engine } = await serverOf(t, {});
  await run(engine);
  const [config] = server.made("Config");
  assert.ok(config);
  const { pairs } = (config["operation"] as { set: { pairs: { key: string; value: string }[] } }).set;
  const settings = Object.fromEntries(pairs.map(({ key, value }) => [key, value]));
  assert.equal(settings["spark.sql.session.timeZone"], "UTC");
  assert.equal(settings["spark.sql.ansi.enabled"], "true");
  assert.equal(settings["spark.sql.parquet.outputTimestampType"], "TIMESTAMP_MICROS");
  assert.equal(server.made("ExecutePlan")[0]?.["clientObservedServerSideSessionId"], "server-1");
});

test("a stream that ends without its mark is taken up behind its last response", async (t) => {
  const { server, engine } = await serverOf(t, {
    execute: (call) => {
      call.write({ responseId: "r1", schema: SCHEMA });
      call.end();
    },
    reattach: (call) => {
      call.write({ responseId: "r2", resultComplete: {} });
      call.end();
    },
  });
  assert.equal(await run(engine), 0);
  const [reattached] = server.made("ReattachExecute");
  assert.equal(reattached?.lastResponseId, "r1");
  assert.equal(reattached?.operationId, server.made("ExecutePlan")[0]?.operationId);
});

test("a connection that breaks is taken up, and a statement that never came is sent again", async (t) => {
  const { server, engine } = await serverOf(t, {
    execute: (call, attempt) => (attempt === 1 ? fails(call, "connection reset", status.UNAVAILABLE) : complete(call)),
    reattach: (call) => fails(call, "[INVALID_HANDLE.OPERATION_NOT_FOUND] The handle is invalid. Operation not found."),
  });
  assert.equal(await run(engine), 0);
  assert.equal(server.made("ExecutePlan").length, 2);
  assert.equal(server.made("ExecutePlan")[0]?.operationId, server.made("ExecutePlan")[1]?.operationId);
});

test("a session that the server has lost is made anew, with its settings, and the statement runs again", async (t) => {
  const { server, engine } = await serverOf(t, {
    execute: (call, attempt) =>
      attempt === 1
        ? fails(
            call,
            "[INVALID_HANDLE.SESSION_CHANGED] The handle is invalid. The existing Spark server driver instance has restarted.",
          )
        : complete(call),
  });
  assert.equal(await run(engine), 0);
  const sessions = server.made("ExecutePlan").map(({ sessionId }) => sessionId);
  assert.equal(sessions.length, 2);
  assert.notEqual(sessions[0], sessions[1]);
  assert.equal(server.made("Config").length, 2);
});

test("a server that loses every session is unavailable", async (t) => {
  const { server, engine } = await serverOf(t, {
    execute: (call) => fails(call, "[INVALID_HANDLE.SESSION_CLOSED] Session was closed."),
  });
  await assert.rejects(run(engine), { code: "SPARK_UNAVAILABLE" });
  assert.equal(server.made("ExecutePlan").length, 3);
});

test("time that is up and a signal end the statement at the server", async (t) => {
  const hang = {
    execute: (call: Parameters<typeof complete>[0]) => {
      call.write({ responseId: "r1", schema: SCHEMA });
      call.write({ responseId: "r2", executionProgress: { stages: [{ numTasks: 2 }] } });
    },
  };
  const late = await serverOf(t, hang);
  await assert.rejects(run(late.engine, { timeoutMs: 200 }), { code: "QUERY_TIMEOUT" });
  assert.equal(late.server.made("ReleaseExecute").length, 1);
  const cancelled = await serverOf(t, hang);
  const controller = new AbortController();
  const running = run(cancelled.engine, { signal: controller.signal });
  setTimeout(() => controller.abort(), 100);
  await assert.rejects(running, { code: "QUERY_CANCELLED" });
  const [interrupted] = cancelled.server.made("Interrupt");
  assert.equal(interrupted?.operationId, cancelled.server.made("ExecutePlan")[0]?.operationId);
});

test("a statement that is still planned is not interrupted until the server computes it", async (t) => {
  const asked: string[] = [];
  const { server, engine } = await serverOf(t, {
    execute: (call) => {
      call.write({ responseId: "r1", schema: SCHEMA });
      setTimeout(() => {
        asked.push(`${server.made("Interrupt").length} times while it was planned`);
        call.write({ responseId: "r2", executionProgress: { stages: [{ numTasks: 2 }] } });
        const computed = setInterval(() => {
          if (server.made("Interrupt").length === 0) return;
          clearInterval(computed);
          fails(call, "[OPERATION_CANCELED] Operation has been canceled. SQLSTATE: HY008");
        }, 20);
      }, 900);
    },
  });
  await assert.rejects(run(engine, { timeoutMs: 50 }), { code: "QUERY_TIMEOUT" });
  assert.deepEqual(asked, ["0 times while it was planned"]);
  assert.equal(server.made("ReleaseExecute").length, 1);
});

test("a server that answers and computes nothing is no well one", async (t) => {
  const { engine } = await serverOf(t, {
    execute: (call) => fails(call, "Cannot call methods on a stopped SparkContext."),
  });
  assert.match(await engine.version(), /^4/);
  await assert.rejects(engine.ping(3_000), { code: "SPARK_UNAVAILABLE", message: /spark\.driver\.memory/ });
  let answered = false;
  const late = (call: Parameters<typeof complete>[0]) =>
    setTimeout(() => {
      answered = true;
      complete(call);
    }, 1_000);
  const silent = await serverOf(t, { execute: late });
  // Busy is not broken.
  await silent.engine.ping(200);
  assert.equal(answered, false);
});

test("a server that is lost in the middle of what it computes, each time, may lack memory for it", async (t) => {
  const { server, engine } = await serverOf(t, {
    execute: (call) => {
      call.write({ responseId: "r1", executionProgress: { stages: [{ numTasks: 2 }] } });
      setTimeout(() => fails(call, "[INVALID_HANDLE.SESSION_CHANGED] The handle is invalid. SQLSTATE: HY000"), 20);
    },
  });
  await assert.rejects(run(engine), { code: "SPARK_OUT_OF_MEMORY", hint: /spark\.driver\.memory/ });
  assert.equal(server.made("ExecutePlan").length, 3);
});

test("what a statement fails of keeps its name", async (t) => {
  const cases: [string, string][] = [
    ["[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012", "SQL_FAILED"],
    ["\n[PARSE_SYNTAX_ERROR] Syntax error at or near 'form'. SQLSTATE: 42601", "SQL_SYNTAX"],
    ["[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:/x/a.parquet. SQLSTATE: KD001", "ENGINE_IO"],
    [
      "Job aborted due to stage failure: Task 0 in stage 1.0 failed: java.lang.OutOfMemoryError: Java heap space",
      "SPARK_OUT_OF_MEMORY",
    ],
    [
      "Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (10.0.0.1 executor 1): ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: Command exited with code 52",
      "SPARK_OUT_OF_MEMORY",
    ],
    ["Cannot call methods on a stopped SparkContext.", "SPARK_UNAVAILABLE"],
    ["Application error processing RPC", "SPARK_UNAVAILABLE"],
    ["[OPERATION_CANCELED] Operation has been canceled. SQLSTATE: HY008", "QUERY_CANCELLED"],
  ];
  for (const [details, code] of cases) {
    const { engine } = await serverOf(t, { execute: (call) => fails(call, details) });
    await assert.rejects(run(engine), { code }, details);
  }
});
