#!/usr/bin/env node
/**
 * Plays SecureCart's shop against a running platform, through its public HTTP door only.
 *
 *     MILLRACE_URL=http://127.0.0.1:8080 MILLRACE_KEY=… node simulator.ts --rate 300 --for 30s
 */
import { positiveNumber, readOptions, wholeNumber } from "../simulation/options.ts";
import { play } from "../simulation/play.ts";
import { traffic } from "./simulator/traffic.ts";

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

if (import.meta.main) process.exitCode = await main(process.argv.slice(2), process.env);

async function main(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = readOptions(args, env, USAGE, {
    rate: positiveNumber("300"),
    history: wholeNumber("7", { of: "whole days" }),
    batch: wholeNumber("500", { least: 1 }),
  });
  if (typeof options === "string") {
    console.error(options);
    return options === USAGE ? 0 : 2;
  }
  return play(traffic({ ...options, historyDays: options.history }), options);
}
