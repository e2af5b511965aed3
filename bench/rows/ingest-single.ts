import { measureIngest } from "../ingest.ts";

export const measure = (seconds: number) =>
  measureIngest({ connections: 64, eventsPerRequest: 1, seconds, rate: (result) => result.requestsPerSecond });
