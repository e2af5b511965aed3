/**
 * What a user agent's text says: by the patterns of the uap-core package (device, operating system, browser) and the
 * crawler-user-agents package. Both are data, pinned with the package's version, so the answer for a text changes only
 * with an upgrade of the platform.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as Yaml from "yaml";

export interface UserAgent {
  readonly device: string | null;
  readonly os: string | null;
  readonly browser: string | null;
}

/** Texts beyond this are cut, so that no text takes long to match. Real ones have less than 500 characters. */
const MOST_CHARACTERS = 1024;
/** Distinct texts that are remembered; traffic of a whole country has some hundred thousand, most of them once. */
const MOST_REMEMBERED = 20_000;

/** Device, operating system and browser, each null where the text does not tell. */
export function parseUserAgent(text: string): UserAgent {
  return remembered(parsed, text, (cut) => {
    const { user_agent_parsers, os_parsers, device_parsers } = patterns();
    return {
      device: firstMatch(device_parsers, cut),
      os: firstMatch(os_parsers, cut),
      browser: firstMatch(user_agent_parsers, cut),
    };
  });
}

/** True for the user agent of a known crawler, monitor or other program that is nobody's visit. */
export function isCrawler(text: string): boolean {
  return remembered(crawlers, text, (cut) => crawlerPattern().test(cut));
}

const parsed = new Map<string, UserAgent>();
const crawlers = new Map<string, boolean>();

function remembered<T>(known: Map<string, T>, text: string, find: (cut: string) => T): T {
  const cut = text.slice(0, MOST_CHARACTERS);
  const before = known.get(cut);
  if (before !== undefined) return before;
  const found = find(cut);
  // Emptied rather than kept in order of use: what is frequent is back at once.
  if (known.size >= MOST_REMEMBERED) known.clear();
  known.set(cut, found);
  return found;
}

/** One entry of uap-core's `regexes.yaml`: the pattern, and a text in place of its first group. */
interface Entry {
  readonly regex: string;
  readonly regex_flag?: string;
  readonly family_replacement?: string;
  readonly os_replacement?: string;
  readonly device_replacement?: string;
}
interface Pattern {
  readonly regex: RegExp;
  readonly replacement: string | undefined;
}
type Kind = "user_agent_parsers" | "os_parsers" | "device_parsers";

let loaded: Readonly<Record<Kind, readonly Pattern[]>> | undefined;
let crawler: RegExp | undefined;
/** Loaded by the first text that needs it: most projects never ask. */
const require = createRequire(import.meta.url);

function patterns(): Readonly<Record<Kind, readonly Pattern[]>> {
  if (loaded === undefined) {
    const file = (require("yaml") as typeof Yaml).parse(
      readFileSync(require.resolve("uap-core/regexes.yaml"), "utf8"),
    ) as Record<Kind, Entry[]>;
    const compile = (entries: Entry[]) =>
      entries.map((entry) => ({
        regex: new RegExp(entry.regex, entry.regex_flag ?? ""),
        replacement: entry.family_replacement ?? entry.os_replacement ?? entry.device_replacement,
      }));
    loaded = {
      user_agent_parsers: compile(file.user_agent_parsers),
      os_parsers: compile(file.os_parsers),
      device_parsers: compile(file.device_parsers),
    };
  }
  return loaded;
}

function crawlerPattern(): RegExp {
  if (crawler === undefined) {
    const list = JSON.parse(readFileSync(require.resolve("crawler-user-agents"), "utf8")) as {
      pattern: string;
    }[];
    crawler = new RegExp(list.map(({ pattern }) => pattern).join("|"));
  }
  return crawler;
}

/** The family by the first pattern that fits; `$1` to `$9` in a replacement are the groups. */
function firstMatch(list: readonly Pattern[], text: string): string | null {
  for (const { regex, replacement } of list) {
    const match = regex.exec(text);
    if (match === null) continue;
    if (replacement === undefined) return match[1] ?? null;
    return replacement.replaceAll(/\$(\d)/g, (_, group) => match[Number(group)] ?? "").trim() || null;
  }
  return null;
}
