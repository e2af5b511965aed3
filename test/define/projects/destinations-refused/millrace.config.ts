import { defineConfig } from "millrace";

export default defineConfig({
  name: "refused",
  alerts: { to: ["opps"], routes: [{ severity: "critical", to: ["duty", "broken"] }] },
});
