import { relative, resolve } from "node:path";
import { type Command, wrongUsage } from "./command.ts";
import { bytesText, countText, elapsedText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

export const restore: Command = {
  name: "restore",
  summary: "Bring a backup back as a new data folder.",
  operands: "DIR",
  operandCount: { min: 1, max: 1 },
  options: {
    data: { type: "string", value: "DIR", doc: "The new data folder: empty, or not there yet." },
    "postgres-url": {
      type: "string",
      value: "URL",
      doc: "PostgreSQL server for the platform's records (default: an embedded one).",
    },
    check: { type: "boolean", doc: "Only read the backup and compare every file with its checksum." },
  },
  help: `
  millrace restore /mnt/backups/shop --data /var/lib/shop
  millrace restore /mnt/backups/shop/2026-01-31T08-15-00.000Z --data /tmp/look
  millrace start shop --data /var/lib/shop

DIR holds backups, of which the newest is taken, or is one of them. Every file is compared with its checksum. The platform that
was backed up must not run beside its copy in the same role: both would go on from the same point.`,

  async run({ operands, flags, terminal }) {
    const from = resolve(terminal.cwd, operands[0]!);
    const data = flags.text("data");
    const { checkBackup, restoreBackup } = await import("../platform/restore.ts");
    if (flags.has("check")) {
      const checked = await checkBackup(from);
      if (flags.has("json")) printJson(terminal, checked);
      else
        terminal.stdout.write(`${checked.backup} is whole: ${countText(checked.files)} files as they were written\n`);
      return 0;
    }
    if (data === undefined) throw wrongUsage(restore, "restore needs --data DIR, the folder to make");
    const postgresUrl = flags.text("postgres-url") ?? terminal.env.MILLRACE_POSTGRES_URL;
    const report = await restoreBackup({ from, dataDir: resolve(terminal.cwd, data), postgresUrl });
    if (flags.has("json")) printJson(terminal, report);
    else {
      const near = relative(terminal.cwd, report.dataDir);
      terminal.stdout.write(
        `${near.startsWith("..") ? report.dataDir : near} is the platform as of ${report.startedAt}: ${countText(report.files)} files, ` +
          `${bytesText(report.bytes)}, ${countText(report.records)} record${report.records === 1 ? "" : "s"}, in ${elapsedText(report.elapsedMs)}\n`,
      );
    }
    return 0;
  },
};
