/**
 * `node test/platform/data-folders/write.ts`: writes a data folder of the format of this version to `format-<version>.tar.gz`. Done once for
 * each format, when it is new; a folder that is there is never written again.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FORMAT_VERSION } from "../../../src/log/data-folder.ts";
import { RunningPlatform } from "../running-platform.ts";

const PROJECT = "test/platform/data-folders/project";

const archive = join(import.meta.dirname, `format-${FORMAT_VERSION}.tar.gz`);
if (existsSync(archive)) throw new Error(`${archive} is there already`);

const order = (n: number, more: Record<string, unknown> = {}) => ({
  ...{
    order_id: `o${n}`,
    customer: `c${n % 3}`,
    amount: "10.50",
    placed_at: `2026-01-0${(n % 3) + 1}T10:00:00.123456Z`,
  },
  ...{ note: n % 2 === 0 ? "Grüße ☃" : undefined, ...more },
});

const dir = await mkdtemp(join(tmpdir(), "millrace-format-"));
try {
  {
    await using platform = await RunningPlatform.start(PROJECT, dir, [
      "--flush-interval",
      "100ms",
      "--segment",
      "4KiB",
    ]);
    for (let n = 0; n < 40; n += 10) {
      await platform.post(
        "orders",
        Array.from({ length: 10 }, (_, i) => order(n + i)),
      );
      await stored(platform);
    }
    const rejected = { order_id: "bad" };
    await platform.post("orders", [
      order(3),
      order(40, { customer: "test" }),
      order(41, { amount: "-1.00" }),
      rejected,
    ]);
    await stored(platform);
  }
  // What comes now is in the log alone when the process dies.
  const platform = await RunningPlatform.start(PROJECT, dir, ["--flush-interval", "1h"]);
  await platform.post("orders", [order(42), order(43), order(5)]);
  await platform.stop("SIGKILL");
  execFileSync(
    "tar",
    ["--sort=name", "--owner=0", "--group=0", "--format=ustar", "-czf", archive, "-C", dir].concat([
      "format.json",
      "log",
      "lake",
      "dedupe",
    ]),
  );
  const next = await RunningPlatform.start(PROJECT, dir); // stops the database server that the killed one left
  await next.stop();
} finally {
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
}

async function stored(platform: RunningPlatform): Promise<void> {
  for (;;) {
    const { body } = await platform.get<{ hops: { pending: number }[] }>("/v1/ledger");
    if (body.hops.every((hop) => hop.pending === 0)) return;
    await sleep(50);
  }
}
