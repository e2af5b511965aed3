/**
 * Where a table's data files are, and how the protocol writes that: the path of an action is a URL-encoded path relative to
 * the table's folder. In the platform paths are plain.
 */

/** The path as an action holds it. */
export function encodePath(path: string): string {
  // `=` needs no encoding and makes `country=DE/…` readable; a colon does, or the first segment could pass for a scheme.
  return path
    .split("/")
    .map((segment) => encodeURIComponent(segment).replaceAll("%3D", "="))
    .join("/");
}

/** The plain path; undefined when the text is no relative path: malformed, absolute, or a URL into another place. */
export function decodePath(text: string): string | undefined {
  if (/^(?:[a-z][a-z0-9+.-]*:|\/)/i.test(text)) return undefined;
  let path: string;
  try {
    path = text.includes("%") ? decodeURIComponent(text) : text;
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
  return path.split("/").some((segment) => segment === "..") ? undefined : path;
}

/** Leaves room for the column's name within the 255 bytes that file systems allow. */
const MAX_VALUE_LENGTH = 120;

/**
 * A path for a new data file: `country=DE/day=2026-01-31/part-<id>.parquet`. The folders are for people to find their way;
 * the partition values that count are those of the `add` action. Whatever could mean something to a shell, a glob or a URL
 * is written as `%xx`, and long values are cut.
 */
export function dataFilePath(partition: Readonly<Record<string, string | null>>, id: string): string {
  const folders = Object.entries(partition).map(([column, value]) => {
    const text = value === null || value === "" ? "__HIVE_DEFAULT_PARTITION__" : escapeName(value);
    return `${escapeName(column)}=${text}/`;
  });
  return `${folders.join("")}part-${id}.parquet`;
}

function escapeName(text: string): string {
  const escaped = Buffer.from(text.toWellFormed(), "utf8")
    .toString("latin1")
    .replace(/[^A-Za-z0-9_.-]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)
    .replace(/^\.+$/, (dots) => "%2E".repeat(dots.length));
  return escaped.length <= MAX_VALUE_LENGTH ? escaped : escaped.slice(0, MAX_VALUE_LENGTH).replace(/%.?$/, "");
}
