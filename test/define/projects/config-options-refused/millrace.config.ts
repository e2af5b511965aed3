// @ts-nocheck
import { defineConfig } from "millrace";

export default defineConfig({ name: "My Shop", modules: "**/*.ts" });
