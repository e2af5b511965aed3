/**
 * Builds the console into `dist/`, from which the platform serves it. For work on it: `npx vite packages/console` beside a running platform, whose
 * API it asks.
 */
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react()],
  server: { proxy: { "/v1": process.env["MILLRACE_URL"] ?? "http://127.0.0.1:8080" } },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2023",
    // Nothing is inlined: the policy lets styles and scripts come from files alone.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
});
