/**
 * How long a table remembers removed files, from its property `delta.deletedFileRetentionDuration`: an interval of one unit,
 * such as `interval 7 days`. What cannot be understood counts as the protocol's default, a week.
 */
export function removedFileRetentionMs(configuration: Readonly<Record<string, string>>): number {
  const text = configuration["delta.deletedFileRetentionDuration"];
  return (text === undefined ? undefined : intervalMs(text)) ?? 7 * UNITS.day!;
}

const UNITS: Readonly<Record<string, number>> = {
  millisecond: 1,
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 604_800_000,
};

function intervalMs(text: string): number | undefined {
  const match = /^\s*(?:interval\s+)?(\d+)\s+([a-z]+?)s?\s*$/i.exec(text);
  const unit = UNITS[match?.[2]?.toLowerCase() ?? ""];
  return match && unit !== undefined ? Number(match[1]) * unit : undefined;
}
