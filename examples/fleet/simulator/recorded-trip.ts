import { existsSync, readFileSync } from "node:fs";
import { zstdDecompressSync } from "node:zlib";
import type { TelemetryRecord } from "./vehicle.ts";

export class UnreadableTrips extends Error {}

const COLUMNS = ["trip", "time", "coolant_c", "rpm", "speed_kmh"] as const;
const G_KMH_PER_S = 9.81 * 3.6;

/**
 * Trips of the KIT's Automotive OBD-II Dataset (Weber; CC BY 4.0) as records of one vehicle for each trip, with the time at which they are
 * due when driven `speed` times as fast. The acceleration is what a device would tell: the change of speed over the last second, as speed
 * comes in whole kilometres per hour ten times a second. Trips follow each other.
 */
export function* recordedTrip(
  file: string,
  name: string,
  speed: number,
): Generator<{ atSeconds: number; record: TelemetryRecord }> {
  if (!existsSync(file)) throw new UnreadableTrips(`there is no file ${file}`);
  const bytes = readFileSync(file);
  const lines = (file.endsWith(".zst") ? zstdDecompressSync(bytes) : bytes).toString("utf8").split("\n");
  const header = (lines[0] as string).split(",");
  const missing = COLUMNS.filter((column) => !header.includes(column));
  if (missing.length > 0) throw new UnreadableTrips(`${file} has no column ${missing.join(", ")}`);
  const [tripAt, timeAt, coolantAt, rpmAt, speedAt] = COLUMNS.map((column) => header.indexOf(column)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  let trip: string | undefined;
  let startSeconds = 0;
  let firstMs = 0;
  let atSeconds = 0;
  let recent: { readonly timeMs: number; readonly kmh: number }[] = [];
  for (const line of lines.slice(1)) {
    const cells = line.split(",");
    const own = cells[tripAt] as string;
    if (own === "" || !own.includes(name)) continue;
    const timeMs = Date.parse(`${own.slice(0, 10)}T${cells[timeAt]}Z`);
    if (own !== trip) {
      trip = own;
      startSeconds = atSeconds;
      firstMs = timeMs;
      recent = [];
    }
    const kmh = numberOf(cells[speedAt]);
    if (kmh !== null) recent = [...recent.filter((one) => timeMs - one.timeMs <= 1_200), { timeMs, kmh }];
    const before = recent.find((one) => timeMs - one.timeMs >= 800);
    const acceleration =
      kmh === null || before === undefined
        ? null
        : (kmh - before.kmh) / ((timeMs - before.timeMs) / 1000) / G_KMH_PER_S;
    atSeconds = Math.max(atSeconds, startSeconds + (timeMs - firstMs) / 1000 / speed);
    yield {
      atSeconds,
      record: {
        vehicle_id: `KIT-${own}`,
        recorded_at: new Date(timeMs).toISOString(),
        driver_id: null,
        latitude: null,
        longitude: null,
        speed_kmh: kmh,
        rpm: numberOf(cells[rpmAt]),
        fuel_pct: null,
        odometer_km: null,
        coolant_c: numberOf(cells[coolantAt]),
        acceleration_g: acceleration === null ? null : Number(acceleration.toFixed(3)),
      },
    };
  }
  if (trip === undefined) throw new UnreadableTrips(`${file} has no trip whose name contains "${name}"`);
}

function numberOf(cell: string | undefined): number | null {
  return cell === undefined || cell === "" ? null : Number(cell);
}
