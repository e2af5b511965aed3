import type { Platform } from "./happening.ts";

/** The apps' releases: days after the product's start, and the version that came out then. Without a new one, the last is in use. */
const RELEASES: Readonly<Record<Platform, readonly (readonly [number, string])[]>> = {
  web: [
    [0, "4.0.0"],
    [7, "4.1.0"],
    [14, "4.2.0"],
    [21, "4.3.0"],
  ],
  ios: [
    [0, "3.8.0"],
    [10, "3.9.0"],
    [20, "3.9.1"],
  ],
  android: [
    [0, "3.7.2"],
    [12, "3.9.0"],
  ],
  desktop: [
    [0, "2.0.1"],
    [9, "2.1.0"],
  ],
  chat: [[0, "1.4.0"]],
};

/** The version in use on a device that many days after the product's start. */
export function appVersion(platform: Platform, days: number): string {
  const releases = RELEASES[platform];
  return (releases.findLast(([from]) => from <= days) ?? (releases[0] as readonly [number, string]))[1];
}

export const ZONES = [
  "Europe/Berlin",
  "Europe/London",
  "America/New_York",
  "America/Los_Angeles",
  "Asia/Kolkata",
  "Australia/Sydney",
] as const;

export const CLIENTS = [
  "Acme",
  "Blue Harbor",
  "Cedar & Co",
  "Delta Foods",
  "Elm Street",
  "Fjord Line",
  "Greenfield",
  "Hokusai",
  "in-house",
] as const;
export const PROJECT_NAMES = [
  "Website",
  "Audit",
  "Migration",
  "Campaign",
  "Support",
  "Research",
  "Bookkeeping",
  "Mobile app",
] as const;
export const REFERRERS = [
  "https://www.google.com/",
  "https://www.producthunt.com/",
  "https://blog.example.com/",
] as const;
export const TAGS = ["focus", "meeting", "travel", "support"] as const;
export const REPORTS = ["weekly", "by_client", "by_project", "utilization"] as const;

export const USER_AGENTS = [
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
  "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
] as const;

export const CRAWLERS = [
  "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
  "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
  "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
] as const;
