import { resolve } from "node:path";
import type { BackupView } from "../serve/backup-route.ts";
import { type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { bytesText, countText, elapsedText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

export const backup: Command = {
  name: "backup",
  summary: "Copy a running platform: everything acknowledged so far, in one consistent picture.",
  operands: "DIR",
  operandCount: { min: 1, max: 1 },
  options: {
    keep: { type: "string", value: "N", doc: "Remove all but the newest N backups in DIR once this one is made." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace backup /mnt/backups/shop --keep 7
  millrace restore /mnt/backups/shop --data /var/lib/shop

DIR is a folder on the platform's machine, for backups of this platform alone. Each backup is a folder of its own in it; files that
have not changed since the one before are shared with it. Events and queries go on meanwhile. The backup holds the admin key: keep
it as safe as the platform.`,

  async run(call) {
    const { operands, flags, terminal } = call;
    const dir = resolve(terminal.cwd, operands[0]!);
    const keep = flags.text("keep");
    if (keep !== undefined && !/^[1-9]\d{0,8}$/.test(keep))
      throw wrongUsage(backup, `--keep is a number from 1 on; got "${keep}"`);
    const client = connect(call);
    try {
      const body = { dir, ...(keep === undefined ? {} : { keep: Number(keep) }) };
      const made = await client.json<BackupView>("/v1/backups", { body });
      if (flags.has("json")) printJson(terminal, made);
      else {
        const shared =
          made.linkedFiles > 0 ? `, ${countText(made.linkedFiles)} of them shared with the one before` : "";
        terminal.stdout.write(
          `${made.backup}\n${countText(made.events)} events in the log, ${made.tables} tables; ${countText(made.files)} files, ` +
            `${bytesText(made.bytes)}${shared}; made and read back in ${elapsedText(made.elapsedMs)}\n`,
        );
      }
      return 0;
    } finally {
      client.close();
    }
  },
};
