import { defineConfig } from "millrace";

export default defineConfig({ name: "some-modules", modules: ["definitions/*.ts"], horizonMs: 3_600_000, port: 9000 });
