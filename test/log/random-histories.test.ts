import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import { describeHistories } from "./contract.ts";
import { scratchFolder } from "./scratch-folder.ts";

let root: Promise<string> | undefined;

describeHistories(
  "embedded",
  async (test, run, segmentBytes) => {
    root ??= scratchFolder(test);
    const dir = join(await root, String(run));
    const report = (finding: unknown) => assert.fail(JSON.stringify(finding));
    return {
      open: () => openEmbeddedLog({ dir, segmentBytes, retentionMs: -1, report }),
      remove: () => rm(dir, { recursive: true }),
    };
  },
  { histories: 200, limitMs: 120_000 },
);
