import { defineConfig } from "millrace";

export default defineConfig({ name: "alerting", flushIntervalMs: 200, alerts: { to: ["all"] } });
