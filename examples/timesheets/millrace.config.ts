import { defineConfig } from "millrace";

export default defineConfig({
  name: "timesheets",
  modules: ["streams.ts", "silver.ts", "gold.ts", "workflows.ts"],
  simulator: "./simulator.ts",
});
