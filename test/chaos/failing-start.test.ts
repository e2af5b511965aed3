import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { nodeFs } from "../../src/log/file-system.ts";
import { startPlatform } from "../../src/platform.ts";
import { temporaryFolder } from "../flow/open-flow.ts";

const projectDir = join(import.meta.dirname, "../../chaos/project");

test("a start on a disk that is full says so and what to do, and the next one works once there is space", async () => {
  await using dir = await temporaryFolder();
  const flags = { dataDir: join(dir.path, "data"), port: 0, logLevel: "error" };
  const full = async () => {
    throw Object.assign(new Error("ENOSPC: no space left on device, mkdir"), { code: "ENOSPC" });
  };
  const failing = startPlatform({ projectDir, flags, ports: { logFs: { ...nodeFs, makeDir: full } } });
  await assert.rejects(failing, { code: "DATA_FOLDER_DISK", retryable: true });
  await (await startPlatform({ projectDir, flags })).close();
});

test("records that are out of reach while the rest still starts are a clear error, not the end of the process", async () => {
  await using dir = await temporaryFolder();
  const flags = { dataDir: dir.path, port: 0, logLevel: "error", postgresUrl: "postgres://nobody@127.0.0.1:1/none" };
  await assert.rejects(startPlatform({ projectDir, flags }), { code: "STATE_UNAVAILABLE" });
});
