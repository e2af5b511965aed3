#!/usr/bin/env node
/**
 * Plays the users of a time tracker against a running platform, through real SDKs: Segment's for the apps, `@millrace/tracker` for the back end.
 *
 *     MILLRACE_URL=http://127.0.0.1:8080 MILLRACE_KEY=… node simulator.ts --people 3000 --for 30s
 */
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { anyText, positiveNumber, readOptions, wholeNumber } from "../simulation/options.ts";
import { stopping } from "../simulation/stopping.ts";
import { openAccess, SendingError } from "./simulator/access.ts";
import { Apps } from "./simulator/apps.ts";
import { BackEnd } from "./simulator/back-end.ts";
import type { Happening } from "./simulator/happening.ts";
import { Truth } from "./simulator/truth.ts";
import { World } from "./simulator/world.ts";

const USAGE = `usage: node simulator.ts [options]

  --people N     people who come by within the history (default 3000)
  --history N    days before now to begin with (default 21)
  --rate N       events a second after that (default 10)
  --seed N       the same seed and --now give the same people doing the same (default: from the clock)
  --for TIME     how long to play after the history: 30s, 5m, 2h (default: until stopped)
  --now TIME     when the history ends, ISO 8601 (default: now)
  --truth FILE   write there, as JSON, what the platform's tables should say at the end
  --json         end with a summary as one line of JSON

environment:
  MILLRACE_URL   the platform (default http://127.0.0.1:8080)
  MILLRACE_KEY   an admin key, by which the apps and the back end get keys of their own, or a key for all (needed)`;

/** Short against a second, so that events leave about when they are due. */
const TICK_MS = 50;

if (import.meta.main) {
  try {
    // At once: an SDK that was cut off would go on trying.
    process.exit(await main(process.argv.slice(2), process.env));
  } catch (error) {
    if (!(error instanceof SendingError)) throw error;
    console.error(`simulator: ${error.message}`);
    process.exit(1);
  }
}

async function main(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = readOptions(args, env, USAGE, {
    people: wholeNumber("3000"),
    history: wholeNumber("21", { of: "whole days" }),
    rate: positiveNumber("10"),
    truth: anyText,
  });
  if (typeof options === "string") {
    console.error(options);
    return options === USAGE ? 0 : 2;
  }
  const { stop, cut } = stopping();
  const access = await openAccess(options.url, options.key);
  const apps = new Apps(options.url, access.writeKey, cut);
  const backEnd = new BackEnd(options.url, access.ingestKey, cut);
  const truth = options.truth === undefined ? undefined : new Truth();
  const send = async (happenings: Iterable<Happening>): Promise<void> => {
    for (const happening of happenings) {
      if (stop.aborted) return;
      const onAcknowledged = () => truth?.add(happening);
      if (happening.sender === "app") await apps.send(happening, onAcknowledged);
      else await backEnd.send(happening, onAcknowledged);
    }
  };

  const startedMs = performance.now();
  let historySeconds: number | undefined;
  let failure: unknown;
  try {
    const world = new World({ ...options, historyDays: options.history });
    await send(world.history());
    historySeconds = (performance.now() - startedMs) / 1000;
    const liveMs = performance.now();
    const due = world.live(options.rate);
    for (let next = due.next().value; !stop.aborted; ) {
      const seconds = (performance.now() - liveMs) / 1000;
      if (seconds >= options.forSeconds) break;
      for (; next.dueSeconds <= seconds; next = due.next().value) await send(next.happenings);
      await backEnd.flush();
      // Rejects when stopped meanwhile, which the loop's condition sees.
      await sleep(TICK_MS, undefined, { signal: stop }).catch(() => undefined);
    }
    await Promise.all([apps.close(), backEnd.flush()]);
  } catch (error) {
    // Cut off after a signal: what was answered until then still counts.
    if (!cut.aborted) failure = error;
  }
  await backEnd.close();
  await access.revoke();
  if (failure !== undefined) throw failure;

  const { seed, truth: truthFile } = options;
  const seconds = (performance.now() - startedMs) / 1000;
  const messages = { acknowledged: apps.acknowledged, resent: apps.resent };
  const records = { acknowledged: backEnd.acknowledged, resent: backEnd.resent };
  if (truthFile !== undefined) await writeFile(truthFile, JSON.stringify(truth?.figures()));
  console.log(
    options.json
      ? JSON.stringify({ seed, seconds, historySeconds, messages, records })
      : `simulator: ${messages.acknowledged} messages of apps and ${records.acknowledged} records of the back end in ${seconds.toFixed(1)} s (seed ${seed}), ` +
          `${messages.resent + records.resent} sent twice`,
  );
  return 0;
}
