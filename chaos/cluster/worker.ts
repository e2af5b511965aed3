/**
 * A worker as it is started by `millrace start --role …`, with a clock that the oracle moves: settings in CHAOS_SETTINGS, the data folder and the port as
 * arguments. Ends with 3 when another process has taken its name, as `millrace start` ends then.
 */
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { startPlatform } from "../../src/platform.ts";
import { jump, now } from "../clock.ts";

const [, , dataDir, port] = process.argv;
process.on("message", ({ clockJumpMs }: { clockJumpMs: number }) => jump(clockJumpMs));
process.on("disconnect", () => process.kill(process.pid, "SIGKILL")); // never outlives the oracle
process.on("SIGINT", () => undefined); // Ctrl-C reaches the whole group; the oracle says when

const settings = JSON.parse(process.env["CHAOS_SETTINGS"] ?? "{}") as Record<string, unknown>;
const platform = await startPlatform({
  projectDir: join(import.meta.dirname, "../project"),
  flags: { dataDir, port: Number(port), ...settings },
  ports: { clock: now },
});
let closing = false;
function end(code: number): void {
  if (closing) return;
  closing = true;
  platform.close().then(
    () => process.exit(code),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
process.on("SIGTERM", () => end(0));
platform.mustStop.addEventListener("abort", () => {
  console.error(platform.mustStop.reason);
  end(3);
});
flushCompileCache(); // most lives end too suddenly to do it at their end
process.stdout.write(`ready ${platform.url}\n`);
