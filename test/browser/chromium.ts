/**
 * The system's Chromium, driven by playwright-core. A profile is a folder of its own, so that a browser can be killed and started again as
 * the same user's; nothing of it reaches beyond this machine by itself.
 */
import { existsSync } from "node:fs";
import { type BrowserContext, chromium } from "playwright-core";

export const MISSING =
  "The tests in a browser need Chromium. Install it with: npm run browser:install (or name one in CHROMIUM_PATH)";

const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

export function findChromium(): string | undefined {
  const named = process.env.CHROMIUM_PATH;
  return (named === undefined ? PLACES : [named]).find((path) => existsSync(path));
}

/** Opens a browser on a profile's folder. @throws with the command that installs one, where there is none */
export async function openChromium(profileDir: string): Promise<BrowserContext> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error(MISSING);
  return chromium.launchPersistentContext(profileDir, {
    executablePath,
    headless: true,
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
