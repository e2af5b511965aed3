import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { ExternalCommand } from "../../src/define/workflow.ts";
import { runCommand } from "../../src/orchestrate/external-command.ts";
import { groupMemoryBytes, processMark } from "../../src/orchestrate/process-group.ts";
import { until } from "./open-orchestrator.ts";

describe("external commands", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "millrace-commands-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  function run(command: ExternalCommand, signal = new AbortController().signal) {
    const lines: string[] = [];
    let pid = 0;
    const output = runCommand(command, {
      ...{ signal, dir, env: { PATH: process.env["PATH"], SECRET: "not for commands" }, leftOver: null },
      started: async (process) => {
        pid = process.pid;
      },
      line: (stream, text) => lines.push(`${stream}: ${text}`),
    });
    return { output, lines, pid: () => pid };
  }

  test("a command gets its arguments, folder, environment and input, and nothing of the platform's secrets", async () => {
    const { output, lines } = run({
      command: "sh",
      args: ["-c", 'cat; echo "$1 $PWD $GIVEN [$SECRET]"; echo oops >&2; exit 3', "sh", "a b; c"],
      env: { GIVEN: "given" },
      stdin: "in\n",
      exitCodes: [0, 3],
    });
    const told = { exitCode: 3, stdout: `in\na b; c ${dir} given []\n`, stderr: "oops\n" };
    assert.deepEqual(await output, told);
    assert.deepEqual(lines.sort(), ["stderr: oops", `stdout: a b; c ${dir} given []`, "stdout: in"]);
  });

  test("a wrong exit code, a signal and a command that is not there are clear errors", async () => {
    const cases: [ExternalCommand, RegExp][] = [
      [{ command: "sh", args: ["-c", "echo why >&2; exit 7"] }, /the command sh ended with exit code 7: why/],
      [{ command: "sh", args: ["-c", "kill -KILL $$"] }, /was ended by SIGKILL/],
      [{ command: "no-such-program" }, /no-such-program is not there/],
      [{ command: "./missing.sh" }, /is not there/],
      [{ command: "true", cwd: "missing" }, /which is not there/],
    ];
    for (const [command, message] of cases)
      await assert.rejects(run(command).output, { code: "COMMAND_FAILED", message });
  });

  test("an aborted command and all it started are ended", async () => {
    const abort = new AbortController();
    const mark = join(dir, "alive");
    const script = `(trap "" TERM; while true; do sleep 1; done) & echo $! > ${mark}; sleep 1000`;
    const { output, pid } = run({ command: "sh", args: ["-c", script] }, abort.signal);
    output.catch(() => undefined);
    await until(() => existsSync(mark) && readFileSync(mark, "utf8").trim() !== "" && pid() > 0);
    abort.abort(new Error("enough"));
    await assert.rejects(output, /enough/);
    await until(() => groupMemoryBytes(pid()) === 0);
  });

  test("a command that eats memory is ended, and says by how much", async () => {
    const script = "const held = []; setInterval(() => held.push(Buffer.alloc(20e6, 1)), 5)";
    const memoryBytes = 150_000_000;
    const { output } = run({ command: process.execPath, args: ["-e", script], memoryBytes });
    await assert.rejects(output, { code: "COMMAND_MEMORY", message: /its limit is 150000000/ });
  });

  test("what an earlier life left running is ended before the command is run again", async () => {
    const left = spawn("sh", ["-c", "sleep 1000 & wait"], { detached: true, stdio: "ignore" });
    const pid = left.pid!;
    await until(() => groupMemoryBytes(pid) > 0);
    const around = {
      signal: new AbortController().signal,
      dir,
      env: {},
      started: async () => undefined,
      line: () => undefined,
    };
    const other = { pid, started: `${processMark(pid)} of another process` };
    await runCommand({ command: "true" }, { ...around, leftOver: other });
    assert.equal(left.signalCode, null, "another process with its number is left alone");
    await runCommand({ command: "true" }, { ...around, leftOver: { pid, started: processMark(pid)! } });
    await until(() => groupMemoryBytes(pid) === 0);
  });
});
