import { apiKeys } from "./001-api-keys.ts";
import type { Migration } from "./migration.ts";

/** Every step in its order. */
export const MIGRATIONS: readonly Migration[] = [apiKeys];
