import { MillraceError } from "../errors.ts";

/** One run's share of a backfill, and its input: `from` is included, `to` is not. */
export interface Partition {
  readonly partition: string;
  readonly from?: string;
  readonly to?: string;
}

export type PartitionRequest =
  | { readonly partitions: readonly string[] }
  | { readonly from: string; readonly to: string; readonly by: string };

/** Of one backfill: ten years of days, or a year of hours. */
const MOST_PARTITIONS = 10_000;
/** Length of a partition's name within the ISO text of its beginning. */
const UNITS: Readonly<Record<string, number>> = { hour: 13, day: 10, month: 7 };

/**
 * The partitions of a range of hours, days or months in UTC, both ends included: `from: "2026-01-01", to: "2026-01-31", by: "day"` are 31.
 * @throws BACKFILL_INVALID
 */
export function partitionsOf(request: PartitionRequest): Partition[] {
  const refuse = (reason: string) => new MillraceError("BACKFILL_INVALID", { reason });
  if ("partitions" in request) {
    const names = [...new Set(request.partitions)];
    if (names.length === 0) throw refuse("has no partition");
    if (names.length > MOST_PARTITIONS) throw refuse(`has ${names.length} partitions; ${MOST_PARTITIONS} are allowed`);
    return names.map((partition) => ({ partition }));
  }
  const { by } = request;
  const length = UNITS[by];
  if (length === undefined) throw refuse(`goes by "${by}"; it can go by ${Object.keys(UNITS).join(", ")}`);
  const begin = (text: string, what: string) => {
    const parsed = new Date(/^\d{4}-\d{2}-\d{2}T\d{2}$/.test(text) ? `${text}:00Z` : text);
    if (Number.isNaN(parsed.getTime()) || !/^\d{4}-\d{2}/.test(text))
      throw refuse(`has "${text}" as ${what}, which is no date`);
    return new Date(`${parsed.toISOString().slice(0, length)}${"-01-01T00:00:00.000Z".slice(length - 4)}`);
  };
  const last = begin(request.to, "to");
  const found: Partition[] = [];
  for (let at = begin(request.from, "from"); at <= last; ) {
    const from = at.toISOString();
    at = after(at, by);
    found.push({ partition: from.slice(0, length), from, to: at.toISOString() });
    if (found.length > MOST_PARTITIONS) throw refuse(`has more than ${MOST_PARTITIONS} partitions`);
  }
  if (found.length === 0) throw refuse(`ends (${request.to}) before it begins (${request.from})`);
  return found;
}

function after(at: Date, by: string): Date {
  const next = new Date(at);
  if (by === "month") next.setUTCMonth(next.getUTCMonth() + 1);
  else next.setUTCHours(next.getUTCHours() + (by === "day" ? 24 : 1));
  return next;
}
