import { defineConfig } from "millrace";

export default defineConfig({ name: "stream-options-refused" });
