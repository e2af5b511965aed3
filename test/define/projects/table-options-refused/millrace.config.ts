import { defineConfig } from "millrace";

export default defineConfig({ name: "table-options-refused" });
