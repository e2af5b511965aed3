import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { MillraceError } from "../errors.ts";
import type { Command } from "./command.ts";
import { printJson } from "./terminal.ts";

/** A small shop that works: what `init` writes, by path. `{name}` is the project's name. */
const TEMPLATES = ["millrace.config.ts", "orders.ts", "README.md"];

export const init: Command = {
  name: "init",
  summary: "Write a small working project to begin with.",
  operands: "[DIR]",
  operandCount: { min: 0, max: 1 },
  options: {},
  help: `
  millrace init shop && millrace start shop

Writes one stream, a silver and a gold table, and a README with what to try. Existing files are never overwritten.`,

  async run({ operands, flags, terminal }) {
    const dir = resolve(terminal.cwd, operands[0] ?? ".");
    const files = await projectFiles(basename(dir));
    await mkdir(dir, { recursive: true });
    const present = new Set(await readdir(dir));
    const taken = [...files.keys()].filter((file) => present.has(file));
    if (taken.length > 0) {
      throw new MillraceError("FOLDER_NOT_EMPTY", { dir: relative(terminal.cwd, dir) || ".", names: taken.join(", ") });
    }
    for (const [file, text] of files) await writeFile(join(dir, file), text, { flag: "wx" });
    if (flags.has("json")) printJson(terminal, { dir, files: [...files.keys()] });
    else {
      const shown = relative(terminal.cwd, dir) || ".";
      terminal.stdout.write(`A project is in ${shown}: ${[...files.keys()].join(", ")}\n`);
      terminal.stdout.write(`Start it:  npx millrace start ${shown}\n`);
    }
    return 0;
  },
};

async function projectFiles(folder: string): Promise<Map<string, string>> {
  const name =
    folder
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, "-")
      .replaceAll(/^-+|-+$/g, "") || "shop";
  const files = new Map<string, string>();
  for (const file of TEMPLATES) {
    const text = await readFile(new URL(`../../templates/shop/${file}`, import.meta.url), "utf8");
    files.set(file, text.replaceAll("{name}", name));
  }
  return files;
}
