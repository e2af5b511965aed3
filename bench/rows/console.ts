import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fastify from "fastify";
import type { Page } from "playwright-core";
import { consoleRoute, readConsole } from "../../src/serve/console-route.ts";
import {
  type Live,
  type MapEdge,
  type MapNode,
  mapRoute,
  type NodeKind,
  type Pulse,
} from "../../src/serve/map-route.ts";
import { openChromium } from "../../test/browser/chromium.ts";
import { withFolder } from "../processes.ts";
import { percentile, rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";

const NODES = 500;
const CHAINS = 100;
const KINDS: readonly NodeKind[] = ["stream", "table", "table", "alert", "destination"];

/**
 * The console's map of 500 nodes in a real browser, dragged about while every node's figures change each second. The console and its routes are the
 * real ones; what they tell is made up, since a project of that size takes longer to start than to measure.
 */
export async function measure(seconds: number): Promise<Measurement> {
  const files = await readConsole(resolve(import.meta.dirname, "../../packages/console/dist"));
  if (files === undefined) throw new Error("there is no console yet: npm run console:build");
  const closing = new AbortController();
  const app = fastify({ forceCloseConnections: true });
  app.register(consoleRoute, { files });
  app.register(mapRoute, { live: madeUp(), requireScope: () => async () => undefined, closing: closing.signal });
  app.get("/v1/session", async () => ({ session: { name: "bench", scopes: ["admin"] } }));
  app.get("/v1/still", async (_request, reply) => reply.type("text/html").send("<!doctype html><title>still</title>"));
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  try {
    return await withFolder(async (dir) => {
      const browser = await openChromium(join(dir, "profile"));
      try {
        const page = await browser.newPage();
        await page.setViewportSize({ width: 1440, height: 900 });
        await page.goto(`${url}/v1/still`);
        const still = await frames(page, seconds);
        await page.goto(url);
        await page.locator(".thing .rate").first().waitFor({ state: "attached" });
        const shown = await page.locator(".thing").count();
        const whole = await frames(page, seconds);
        // So near that names can be read, as one looks at a part of it.
        for (let i = 0; i < 6; i++) await page.mouse.wheel(0, -400);
        await sleep(500);
        const near = await frames(page, seconds);
        const peers = { "an empty page, the mouse moved the same way": rounded(still.perSecond) };
        return {
          figures: {
            whole: { value: rounded(whole.perSecond), peers },
            wholeP99: { value: rounded(whole.p99Ms), peers: { "an empty page": rounded(still.p99Ms) } },
            near: { value: rounded(near.perSecond), peers },
            nearP99: { value: rounded(near.p99Ms), peers: { "an empty page": rounded(still.p99Ms) } },
          },
          conditions: {
            page: `${NODES} nodes and ${edges().length} edges, ${shown} of them in the page; every node has other figures each second`,
            browser: `${browser.browser()?.version() ?? "Chromium"}, headless, 1440 × 900, drawn by the processor`,
          },
        };
      } finally {
        await browser.close();
      }
    });
  } finally {
    closing.abort();
    await app.close();
  }
}

/** Frames that the page got while it was dragged to and fro. */
async function frames(page: Page, seconds: number): Promise<{ perSecond: number; p99Ms: number }> {
  await page.evaluate(`
    window.frames_ = [];
    window.counting_ = true;
    requestAnimationFrame(function next(at) { window.frames_.push(at); if (window.counting_) requestAnimationFrame(next); });
  `);
  const until = performance.now() + seconds * 1_000;
  await page.mouse.move(720, 320);
  await page.mouse.down();
  for (let i = 0; performance.now() < until; i++) {
    const turn = (i % 120) / 120;
    await page.mouse.move(720 + 300 * Math.sin(turn * 2 * Math.PI), 320 + 150 * Math.cos(turn * 2 * Math.PI));
  }
  await page.mouse.up();
  const at = (await page.evaluate("window.counting_ = false, window.frames_")) as number[];
  const gaps = at.slice(1).map((moment, i) => moment - (at[i] as number));
  const spanMs = (at.at(-1) ?? 0) - (at[0] ?? 0);
  return { perSecond: (gaps.length * 1_000) / spanMs, p99Ms: percentile(gaps, 0.99) };
}

function nodes(): MapNode[] {
  return Array.from({ length: NODES }, (_, i) => {
    const kind = KINDS[i % KINDS.length] as NodeKind;
    const name = `${kind}_${i}`;
    return { id: `${kind}:${name}`, kind, name, detail: kind, file: "definitions.ts" };
  });
}

/** Chains of a stream, two tables, an alert and a destination, each with a look-up into the next chain. */
function edges(): MapEdge[] {
  const all = nodes().map(({ id }) => id);
  return Array.from({ length: CHAINS }, (_, chain) => {
    const own = all.slice(chain * KINDS.length, (chain + 1) * KINDS.length);
    const steps = own.slice(1).map((to, i): MapEdge => ({ from: own[i] as string, to, kind: "rows" }));
    const other = all[(chain + 1) * KINDS.length + 2];
    return other === undefined ? steps : [...steps, { from: own[1] as string, to: other, kind: "lookup" as const }];
  }).flat();
}

function madeUp(): Live {
  const map = { nodes: nodes(), edges: edges() };
  const startedAtMs = Date.now();
  let beats = 0;
  return {
    map: () => map,
    async pulse(): Promise<Pulse> {
      beats += 1;
      const node = (i: number): Pulse["nodes"][string] => ({
        ...{ count: beats * (100 + i), pending: i % 7, rejected: 0, deadLettered: i % 50 === 0 ? beats : 0 },
        ...{ freshAtMs: Date.now() - i * 10, health: i % 50 === 0 ? "warning" : "ok", problem: null, sinceMs: null },
      });
      const memory = {
        residentBytes: 3e8,
        heapUsedBytes: 1e8,
        heapTotalBytes: 2e8,
        externalBytes: 1e6,
        availableBytes: 1e9,
      };
      return {
        ...{ atMs: Date.now(), startedAtMs, ready: true, problems: [], balanced: true, residentBytes: 3e8, queries: 0 },
        process: { cpu: 0.5, memory, eventLoop: { p50Ms: 0.1, p99Ms: 1, maxMs: 5, overMs: 60_000 } },
        ...{ firing: { critical: 0, warning: 0, info: 0 }, deadLetters: 0, stamps: {}, heartbeats: {} },
        nodes: Object.fromEntries(map.nodes.map(({ id }, i) => [id, node(i)])),
      };
    },
  };
}
