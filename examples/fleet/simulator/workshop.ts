import type { Random } from "../../simulation/random.ts";
import { vehicleName } from "./drive.ts";

export interface Service {
  readonly vehicle_id: string;
  readonly serviced_at: string;
  readonly service: "inspection" | "oil" | "brakes" | "tyres";
  readonly odometer_km: number;
  readonly next_service_km: number;
  readonly workshop: string;
}

const INTERVAL_KM = 15_000;

/** The workshop's log before `startMs`: two services of each vehicle, oldest first. */
export function serviceLog(vehicles: number, startMs: number, random: Random): Service[] {
  const day = Math.floor(startMs / 86_400_000) * 86_400_000;
  const log: Service[] = [];
  for (let index = 0; index < vehicles; index++) {
    const first = Math.round(random.between(20_000, 180_000));
    for (const [odometer, daysAgo] of [
      [first, 400 + random.below(60)],
      [first + INTERVAL_KM - random.below(800), 120 + random.below(60)],
    ] as const) {
      log.push({
        vehicle_id: vehicleName(index),
        serviced_at: new Date(day - daysAgo * 86_400_000 + 9 * 3_600_000 + random.below(480) * 60_000).toISOString(),
        service: random.pick(["inspection", "oil", "brakes", "tyres"]),
        odometer_km: odometer,
        next_service_km: odometer + INTERVAL_KM,
        workshop: random.pick(["Nord", "Süd", "Main"]),
      });
    }
  }
  return log.sort((a, b) => (a.serviced_at < b.serviced_at ? -1 : 1));
}
