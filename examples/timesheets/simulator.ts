#!/usr/bin/env node
/**
 * Plays the users of a time tracker against a running platform, through real SDKs: Segment's for the apps, `@millrace/tracker` for the back end.
 *
 *     MILLRACE_URL=http://127.0.0.1:8080 MILLRACE_KEY=… node simulator.ts --people 3000 --for 30s
 */
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
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
/** After a signal to stop, what is under way has this long to be answered. */
const STOP_WITHIN_MS = 3_000;

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
  const options = readOptions(args, env);
  if (typeof options === "string") {
    console.error(options);
    return options === USAGE ? 0 : 2;
  }
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

  const access = await openAccess(options.url, options.key);
  const apps = new Apps(options.url, access.writeKey, cut.signal);
  const backEnd = new BackEnd(options.url, access.ingestKey, cut.signal);
  const truth = options.truthFile === undefined ? undefined : new Truth();
  const send = async (happenings: Iterable<Happening>): Promise<void> => {
    for (const happening of happenings) {
      if (stop.signal.aborted) return;
      const onAcknowledged = () => truth?.add(happening);
      if (happening.sender === "app") await apps.send(happening, onAcknowledged);
      else await backEnd.send(happening, onAcknowledged);
    }
  };

  const startedMs = performance.now();
  let historySeconds: number | undefined;
  let failure: unknown;
  try {
    const world = new World(options);
    await send(world.history());
    historySeconds = (performance.now() - startedMs) / 1000;
    const liveMs = performance.now();
    const due = world.live(options.rate);
    for (let next = due.next().value; !stop.signal.aborted; ) {
      const seconds = (performance.now() - liveMs) / 1000;
      if (seconds >= options.forSeconds) break;
      for (; next.dueSeconds <= seconds; next = due.next().value) await send(next.happenings);
      await backEnd.flush();
      // Rejects when stopped meanwhile, which the loop's condition sees.
      await sleep(TICK_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    }
    await Promise.all([apps.close(), backEnd.flush()]);
  } catch (error) {
    // Cut off after a signal: what was answered until then still counts.
    if (!cut.signal.aborted) failure = error;
  }
  await backEnd.close();
  await access.revoke();
  if (failure !== undefined) throw failure;

  const { seed, truthFile } = options;
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

/** The options, or what to tell the user instead. */
function readOptions(args: string[], env: NodeJS.ProcessEnv) {
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        people: { type: "string", default: "3000" },
        history: { type: "string", default: "21" },
        rate: { type: "string", default: "10" },
        seed: { type: "string" },
        for: { type: "string" },
        now: { type: "string" },
        truth: { type: "string" },
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
    people: Number(values.people),
    historyDays: Number(values.history),
    rate: Number(values.rate),
    seed: values.seed === undefined ? nowMs : Number(values.seed),
    nowMs,
    forSeconds,
    truthFile: values.truth === undefined ? undefined : String(values.truth),
    json: values.json === true,
    url: (env.MILLRACE_URL ?? "http://127.0.0.1:8080").replace(/\/$/, ""),
    key: env.MILLRACE_KEY ?? "",
  };
  const isCount = (value: number) => Number.isInteger(value) && value >= 0;
  const wrong = [
    !isCount(options.people) && `--people takes a whole number, got "${values.people}"`,
    !isCount(options.historyDays) && `--history takes whole days, got "${values.history}"`,
    !(options.rate > 0 && Number.isFinite(options.rate)) && `--rate takes a number above 0, got "${values.rate}"`,
    !Number.isSafeInteger(options.seed) && `--seed takes a whole number, got "${values.seed}"`,
    Number.isNaN(nowMs) && `--now takes a time in ISO 8601, got "${values.now}"`,
    Number.isNaN(forSeconds) && `--for takes a time such as 30s, 5m or 2h, got "${values.for}"`,
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
