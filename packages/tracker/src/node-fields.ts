import { release, type } from "node:os";
import type { FieldName } from "./fields.ts";
import { LIBRARY } from "./version.ts";

/** What a process knows. */
export const nodeFields: { readonly [Name in FieldName]?: () => unknown } = {
  library: () => LIBRARY,
  language: () => Intl.DateTimeFormat().resolvedOptions().locale,
  time_zone: () => Intl.DateTimeFormat().resolvedOptions().timeZone,
  os: type,
  device_type: () => "server",
  user_agent: () => `Node.js/${process.versions.node} (${type()} ${release()})`,
};
