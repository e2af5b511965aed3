#!/usr/bin/env node
/**
 * Drives a fleet of vehicles against a running platform, through its public HTTP door only.
 *
 *     MILLRACE_URL=http://127.0.0.1:8080 MILLRACE_KEY=… node simulator.ts --vehicles 40 --for 30s
 */
import { anyText, positiveNumber, readOptions, wholeNumber } from "../simulation/options.ts";
import { play } from "../simulation/play.ts";
import { drive } from "./simulator/drive.ts";
import { recordedTrip, UnreadableTrips } from "./simulator/recorded-trip.ts";

const USAGE = `usage: node simulator.ts [options]

  --vehicles N   vehicles on the road (default 40)
  --hertz N      records a second of each (default 1)
  --history N    hours before now to begin with (default 24)
  --trips FILE   drive recorded trips as well: the CSV of the KIT data set (also .zst), each record when it is due
  --trip NAME    of these only those whose name contains the text
  --speed N      how many times faster than they were driven (default 10)
  --seed N       the same seed and --now give the same records (default: from the clock)
  --for TIME     how long to run: 30s, 5m, 2h (default: until stopped)
  --now TIME     when the run starts, ISO 8601 (default: now)
  --batch N      most events in one request (default 500)
  --json         end with a summary as one line of JSON

environment:
  MILLRACE_URL   the platform (default http://127.0.0.1:8080)
  MILLRACE_KEY   a key that may write (needed)`;

if (import.meta.main) process.exitCode = await main(process.argv.slice(2), process.env);

async function main(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = readOptions(args, env, USAGE, {
    vehicles: wholeNumber("40"),
    hertz: positiveNumber("1"),
    history: wholeNumber("24", { of: "whole hours" }),
    trips: anyText,
    trip: anyText,
    speed: positiveNumber("10"),
    batch: wholeNumber("500", { least: 1 }),
  });
  if (typeof options === "string") {
    console.error(options);
    return options === USAGE ? 0 : 2;
  }
  const { trips, trip = "", speed } = options;
  try {
    const recorded = trips === undefined ? [] : recordedTrip(trips, trip, speed);
    return await play(drive({ ...options, historyHours: options.history, recorded }), options);
  } catch (error) {
    if (!(error instanceof UnreadableTrips)) throw error;
    console.error(`simulator: ${error.message}`);
    return 1;
  }
}
