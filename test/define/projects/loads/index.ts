export { rates } from "./streams.ts";
export * from "./tables/silver.ts";
