/** A browser at a platform's console, and what every test of it asks. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { openChromium } from "../browser/chromium.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
export const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
/** In which every page is looked at. */
const LOOKS = [
  { viewport: DESK },
  { viewport: DESK, dark: true },
  { viewport: PHONE },
  { viewport: PHONE, dark: true },
];

export interface Look {
  readonly viewport?: typeof DESK;
  readonly dark?: boolean;
}

/** A page, with what it complained of: errors of its own, of its console, and of what it asked for. */
export type ConsolePage = Page & { readonly complaints: string[] };

export class OpenConsole {
  readonly folder: string;
  readonly dataDir: string;
  readonly browser: BrowserContext;
  platform: RunningPlatform;
  readonly #close: () => Promise<void>;

  private constructor(folder: string, platform: RunningPlatform, browser: BrowserContext, close: () => Promise<void>) {
    this.folder = folder;
    this.dataDir = join(folder, "data");
    this.platform = platform;
    this.browser = browser;
    this.#close = close;
  }

  /** `project` is relative to the repository. */
  static async start(project: string, flags: readonly string[] = []): Promise<OpenConsole> {
    const dir = await temporaryFolder();
    const platform = await RunningPlatform.start(project, join(dir.path, "data"), [
      "--flush-interval",
      "200ms",
      ...flags,
    ]);
    const browser = await openChromium(join(dir.path, "profile"));
    return new OpenConsole(dir.path, platform, browser, async () => dir[Symbol.asyncDispose]());
  }

  async stop(): Promise<void> {
    await this.browser.close();
    await this.platform.stop();
    await this.#close();
  }

  /** A page of somebody who is signed in. */
  async open(path: string, look: Look = {}): Promise<ConsolePage> {
    const page = Object.assign(await this.browser.newPage(), { complaints: [] as string[] });
    page.on("console", (message) => {
      if (message.type() === "error") page.complaints.push(message.text());
    });
    page.on("response", async (response) => {
      if (response.status() >= 400) page.complaints.push(`${response.url()}: ${await response.text()}`);
    });
    page.on("pageerror", (error) => page.complaints.push(error.message));
    await page.setViewportSize(look.viewport ?? DESK);
    await page.emulateMedia({ colorScheme: look.dark ? "dark" : "light", reducedMotion: "reduce" });
    await page.goto(`${this.platform.url}${path}`);
    // Either is there at once: who is signed in, or the form.
    await page.locator("#key, .app, .dashboard").first().waitFor();
    if ((await page.locator("#key").count()) > 0) {
      await page.fill("#key", this.platform.key);
      await page.click("button[type=submit]");
      await page.locator(".app, .dashboard").first().waitFor();
    }
    return page;
  }

  /** Asserts of a page in light and dark, on a desk and on a phone: it is complete, nothing for axe, nothing wider than the screen, no complaint. */
  async inEveryLook(path: string, there: string): Promise<void> {
    for (const look of LOOKS) {
      const page = await this.open(path, look);
      try {
        await page.locator(there).first().waitFor();
        assert.deepEqual(await violations(page), []);
        const wide = await tooWide(page);
        assert.ok(wide <= 0, `the page is ${wide} pixels wider than the screen`);
        assert.deepEqual(page.complaints, []);
      } finally {
        await page.close();
      }
    }
  }

  /** A request of the admin's. @throws with the answer, unless it is well */
  async call<Body = unknown>(method: string, path: string, body?: unknown): Promise<Body> {
    const response = await fetch(`${this.platform.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.platform.key}`,
        ...(body !== undefined && { "content-type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text === "" ? undefined : JSON.parse(text)) as Body;
  }
}

/** What axe finds against WCAG 2.2 AA. */
export async function violations(page: Page): Promise<unknown> {
  // The page's own policy keeps foreign scripts out; the browser puts this one in past it.
  const session = await page.context().newCDPSession(page);
  await session.send("Page.setBypassCSP", { enabled: true });
  await session.send("Runtime.evaluate", { expression: await readFile(AXE, "utf8") });
  return page.evaluate(`axe.run({ runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] } }).then(
    ({ violations }) => violations.map(({ id, nodes }) => ({ id, where: nodes.slice(0, 5).map((node) => node.target + ": " + node.failureSummary) })),
  )`);
}

/** By how many pixels a page is wider than its screen. */
export async function tooWide(page: Page): Promise<number> {
  return Number(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"));
}
