import { defineConfig } from "millrace";

export default defineConfig({
  name: "ops",
  flushIntervalMs: 100,
  alerts: { to: ["ops"], routes: [{ severity: "critical", to: ["ops", "log"] }] },
});
