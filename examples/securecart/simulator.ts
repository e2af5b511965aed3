#!/usr/bin/env node
/**
 * Plays SecureCart's shop against a running platform, through its public HTTP door only.
 *
 *     MILLRACE_URL=http://127.0.0.1:8080 MILLRACE_KEY=… node simulator.ts --rate 300 --for 30s
 */
import { parseArgs } from "node:util";
import { dispatch } from "./simulator/dispatch.ts";
import { Door, DoorError } from "./simulator/door.ts";
import { describe, Tally } from "./simulator/tally.ts";
import { type SentEvent, traffic } from "./simulator/traffic.ts";

const USAGE = `usage: node simulator.ts [options]

  --rate N       events a second, outside of sale-day spikes (default 300)
  --seed N       the same seed and --now give the same events (default: from the clock)
  --for TIME     how long to run: 30s, 5m, 2h (default: until stopped)
  --history N    days before now to begin with (default 7)
  --now TIME     when the run starts, ISO 8601 (default: now)
  --batch N      most events in one request (default 500)
  --json         end with a summary as one line of JSON

environment:
  MILLRACE_URL   the platform (default http://127.0.0.1:8080)
  MILLRACE_KEY   a key that may write (needed)`;

/** After a signal to stop, what is under way has this long to be answered. */
const STOP_WITHIN_MS = 3_000;

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2), process.env);
  } catch (error) {
    if (!(error instanceof DoorError)) throw error;
    console.error(`simulator: ${error.message}`);
    process.exitCode = 1;
  }
}

async function main(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = readOptions(args, env);
  if (typeof options === "string") {
    console.error(options);
    return options === USAGE ? 0 : 2;
  }
  const { seed, forSeconds, batchEvents } = options;
  const stop = new AbortController();
  const cut = new AbortController();
  const finish = () => {
    stop.abort();
    setTimeout(() => cut.abort(), STOP_WITHIN_MS).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, finish);
  // Started by the platform itself, it goes when that has gone.
  process.once("disconnect", finish);
  process.channel?.unref();

  const tally = new Tally();
  const door = new Door({ url: options.url, key: options.key, signal: cut.signal });
  const send = async (stream: string, batch: readonly SentEvent[]): Promise<void> => {
    const answer = await door.send(
      stream,
      batch.map((event) => event.line),
    );
    tally.add(stream, batch, answer);
  };

  const startedMs = performance.now();
  const elapsedSeconds = () => (performance.now() - startedMs) / 1000;
  const { opening, events } = traffic(options);
  let failure: unknown;
  try {
    // Look-up data first, so that the first order already finds its country.
    for (const [stream, batch] of Map.groupBy(opening, (event) => event.stream)) await send(stream, batch);
    await dispatch(events, { send, batchEvents, forSeconds, stop: stop.signal, elapsedSeconds });
  } catch (error) {
    // Cut off after a signal: what was answered until then still counts.
    if (!cut.signal.aborted) failure = error;
  }
  const summary = tally.summary();
  console.log(
    options.json
      ? JSON.stringify({ seed, seconds: elapsedSeconds(), ...summary })
      : describe(summary, elapsedSeconds(), seed),
  );
  if (failure !== undefined) throw failure;
  return 0;
}

/** The options, or what to tell the user instead. */
function readOptions(args: string[], env: NodeJS.ProcessEnv) {
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        rate: { type: "string", default: "300" },
        seed: { type: "string" },
        for: { type: "string" },
        history: { type: "string", default: "7" },
        now: { type: "string" },
        batch: { type: "string", default: "500" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }));
  } catch (error) {
    return `${(error as Error).message}\n\n${USAGE}`;
  }
  if (values.help) return USAGE;
  const nowMs = values.now === undefined ? Date.now() : Date.parse(String(values.now));
  const forSeconds = values.for === undefined ? Number.POSITIVE_INFINITY : readSeconds(String(values.for));
  const options = {
    rate: Number(values.rate),
    seed: values.seed === undefined ? nowMs : Number(values.seed),
    nowMs,
    historyDays: Number(values.history),
    batchEvents: Number(values.batch),
    forSeconds,
    json: values.json === true,
    url: env.MILLRACE_URL ?? "http://127.0.0.1:8080",
    key: env.MILLRACE_KEY ?? "",
  };
  const wrong = [
    !(options.rate > 0 && Number.isFinite(options.rate)) && `--rate takes a number above 0, got "${values.rate}"`,
    !Number.isSafeInteger(options.seed) && `--seed takes a whole number, got "${values.seed}"`,
    Number.isNaN(nowMs) && `--now takes a time in ISO 8601, got "${values.now}"`,
    Number.isNaN(forSeconds) && `--for takes a time such as 30s, 5m or 2h, got "${values.for}"`,
    !(Number.isInteger(options.historyDays) && options.historyDays >= 0) &&
      `--history takes whole days, got "${values.history}"`,
    !(Number.isInteger(options.batchEvents) && options.batchEvents > 0) &&
      `--batch takes a whole number above 0, got "${values.batch}"`,
    options.key === "" &&
      "MILLRACE_KEY is not set; a fresh platform writes an admin key to admin.key in its data folder",
  ].filter((message) => message !== false);
  return wrong.length === 0 ? options : `${wrong.join("\n")}\n\n${USAGE}`;
}

function readSeconds(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (match === null) return Number.NaN;
  return Number(match[1]) * { ms: 0.001, s: 1, m: 60, h: 3_600 }[match[2] as "ms" | "s" | "m" | "h"];
}
