import { measureIngest } from "../ingest.ts";

export const measure = (seconds: number) =>
  measureIngest({ connections: 64, eventsPerRequest: 100, seconds, rate: (result) => result.eventsPerSecond });
