import { defineConfig } from "millrace";

export default defineConfig({
  name: "fleet",
  simulator: "./simulator.ts",
});
