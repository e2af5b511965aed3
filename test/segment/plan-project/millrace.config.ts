import { defineConfig } from "millrace";

export default defineConfig({ name: "segment-plan-test" });
