import type { Random } from "../../simulation/random.ts";

export interface TelemetryRecord {
  readonly vehicle_id: string;
  readonly recorded_at: string;
  readonly driver_id: string | null;
  readonly latitude: number | null;
  readonly longitude: number | null;
  readonly speed_kmh: number | null;
  readonly rpm: number | null;
  readonly fuel_pct: number | null;
  readonly odometer_km: number | null;
  readonly coolant_c: number | null;
  readonly acceleration_g: number | null;
}

/** Frankfurt, around which the fleet drives. */
const HOME = { latitude: 50.11, longitude: 8.68 };
const KM_PER_DEGREE = 111.2;
const G_KMH_PER_S = 9.81 * 3.6;

/** A vehicle on the road: trips with breaks between them, speed limits, fuel, heat, and a driver who brakes hard now and then. */
export class Vehicle {
  readonly id: string;
  readonly #index: number;
  readonly #random: Random;
  #latitude: number;
  #longitude: number;
  #heading: number;
  #speed = 0;
  #limit = 50;
  #fuel: number;
  #odometer: number;
  #coolant = 60;
  /** Seconds left of the trip (above 0) or of the break (below). */
  #left: number;

  constructor(id: string, index: number, odometerKm: number, random: Random) {
    this.id = id;
    this.#index = index;
    this.#random = random;
    this.#odometer = odometerKm;
    this.#latitude = HOME.latitude + random.between(-0.1, 0.1);
    this.#longitude = HOME.longitude + random.between(-0.15, 0.15);
    this.#heading = random.between(0, 2 * Math.PI);
    this.#fuel = random.between(14, 95);
    this.#left = random.between(-600, 3_600);
  }

  /** Where it is, as traffic is observed: `50.11/8.68`. Undefined while it stands. */
  get cell(): string | undefined {
    return this.#left > 0 ? `${this.#latitude.toFixed(2)}/${this.#longitude.toFixed(2)}` : undefined;
  }

  /** Drives on for so many seconds, and says what its sensors say then. */
  step(timeMs: number, seconds: number): TelemetryRecord {
    const random = this.#random;
    this.#rest(seconds);
    const before = this.#speed;
    const isHardBrake = this.#left > 0 && before > 30 && random.chance(Math.min(0.5, this.#recklessness() * seconds));
    let acceleration: number;
    if (isHardBrake) {
      acceleration = -random.between(0.51, 0.95);
      this.#speed = Math.max(0, before + acceleration * G_KMH_PER_S * random.between(0.8, 1.4));
    } else {
      const wanted = this.#left > 0 ? this.#limit * random.between(0.85, 1.1) : 0;
      const most = Math.min(seconds, 8) * (wanted > before ? 6 : 9);
      this.#speed = Math.max(0, before + Math.max(-most, Math.min(most, wanted - before)));
      acceleration = (this.#speed - before) / (G_KMH_PER_S * Math.min(seconds, 8));
    }
    this.#move(((before + this.#speed) / 2 / 3600) * seconds);
    this.#heat(seconds);
    const isRunning = this.#left > 0;
    return {
      vehicle_id: this.id,
      recorded_at: new Date(timeMs).toISOString(),
      driver_id: `D-${String(((this.#index * 2 + (new Date(timeMs).getUTCHours() >= 12 ? 1 : 0)) % 97) + 1).padStart(3, "0")}`,
      latitude: round(this.#latitude, 5),
      longitude: round(this.#longitude, 5),
      speed_kmh: round(this.#speed, 1),
      rpm: isRunning ? Math.round(800 + this.#speed * 24 + random.between(0, 120)) : 0,
      // Sensors report in turn.
      fuel_pct: random.chance(0.5) ? round(this.#fuel, 1) : null,
      odometer_km: round(this.#odometer, 3),
      coolant_c: random.chance(0.7) ? Math.round(this.#coolant) : null,
      acceleration_g: round(acceleration, 3),
    };
  }

  /** Of a hard brake, each second: one driver in ten brakes hard every few minutes, others once in some hours. */
  #recklessness(): number {
    return this.#index % 10 === 3 ? 1 / 240 : 1 / 9_000;
  }

  #rest(seconds: number): void {
    const random = this.#random;
    if (this.#left > 0) {
      this.#left -= seconds;
      if (this.#left <= 0) this.#left = -random.between(300, 2_400);
      else if (random.chance(Math.min(1, seconds / 90))) {
        this.#limit = random.pick([30, 50, 50, 50, 70, 100, 120]);
        this.#heading += random.normal() * 0.6;
      }
    } else {
      this.#left += seconds;
      if (this.#left >= 0) {
        this.#left = random.between(1_200, 5_400);
        // Tanks are filled in breaks, by most.
        if (this.#fuel < 20 && random.chance(0.7)) this.#fuel = random.between(85, 100);
      }
    }
  }

  #move(km: number): void {
    this.#odometer += km;
    this.#fuel = Math.max(3, this.#fuel - km * 0.12);
    // Who gets too far away turns for home.
    const away = Math.hypot(this.#latitude - HOME.latitude, this.#longitude - HOME.longitude);
    if (away > 0.4) this.#heading = Math.atan2(HOME.longitude - this.#longitude, HOME.latitude - this.#latitude);
    this.#latitude += (Math.cos(this.#heading) * km) / KM_PER_DEGREE;
    this.#longitude += (Math.sin(this.#heading) * km) / (KM_PER_DEGREE * Math.cos((this.#latitude * Math.PI) / 180));
  }

  /** One vehicle in twenty has a thermostat that sticks for some minutes at a time. */
  #heat(seconds: number): void {
    const sticks = this.#index % 20 === 9 && this.#left > 0 && this.#left % 1_500 < 400;
    const wanted = this.#left <= 0 ? 40 : sticks ? 128 : 90;
    this.#coolant += (wanted - this.#coolant) * Math.min(1, seconds / 120) + this.#random.normal() * 0.3;
  }
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
