import type { FieldName } from "./fields.ts";
import { LIBRARY } from "./version.ts";

const query = (name: string) => (): string | undefined => new URLSearchParams(location.search).get(name) ?? undefined;
const agent = (): string => navigator.userAgent;
/** iPadOS says that it is a Mac; Macs have no touch screen. */
const isIpad = (): boolean => /Macintosh/.test(agent()) && navigator.maxTouchPoints > 1;
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/Windows/, "Windows"],
  [/iPhone|iPad|iPod/, "iOS"],
  [/Macintosh/, "macOS"],
  [/Android/, "Android"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
];

/** What a page knows. Read when an event is tracked: pages of one-page applications change. */
export const pageFields = {
  library: () => LIBRARY,
  language: () => navigator.language,
  time_zone: () => Intl.DateTimeFormat().resolvedOptions().timeZone,
  os: () => (isIpad() ? "iOS" : SYSTEMS.find(([pattern]) => pattern.test(agent()))?.[1]),
  device_type: () =>
    isIpad() || /iPad|Android(?!.*Mobile)/.test(agent()) ? "tablet" : /Mobi/.test(agent()) ? "mobile" : "desktop",
  user_agent: agent,
  screen_width: () => screen.width,
  screen_height: () => screen.height,
  page_url: () => location.href,
  page_path: () => location.pathname,
  page_title: () => document.title,
  referrer: () => document.referrer || undefined,
  utm_source: query("utm_source"),
  utm_medium: query("utm_medium"),
  utm_campaign: query("utm_campaign"),
  utm_term: query("utm_term"),
  utm_content: query("utm_content"),
} as const satisfies { readonly [Name in FieldName]?: () => unknown };

export type Field = keyof typeof pageFields;
