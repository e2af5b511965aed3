import { defineConfig } from "millrace";

export default defineConfig({
  name: "securecart",
  simulator: "./simulator.ts",
});
