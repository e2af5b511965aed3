import type { AlertsOptions } from "./alert-routes.ts";
import { type Definition, define } from "./definition.ts";

export interface ConfigOptions {
  /** The project's name. */
  readonly name: string;
  /** Which modules hold definitions: globs relative to the project's folder. Default: every `.ts` file but tests. */
  readonly modules?: readonly string[];
  /** Where alerts go that do not say it themselves, the platform's own among them: `{ to: ["ops"], routes: [{ severity: "critical", to: ["on-call"] }] }`. */
  readonly alerts?: AlertsOptions;
  /** Any setting of the platform, as `millrace config` lists them. Flags and the environment go before these. */
  readonly [setting: string]: unknown;
}

export type ConfigDefinition = Definition<"config", ConfigOptions>;

/** The default export of `millrace.config.ts`: `export default defineConfig({ name: "shop" })`. */
export function defineConfig(options: ConfigOptions): ConfigDefinition {
  return define("config", options?.name, options, defineConfig);
}
