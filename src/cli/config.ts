import type { SettingView } from "../serve/admin-route.ts";
import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import { printJson } from "./terminal.ts";

export const config: Command = {
  name: "config",
  summary: "Show every setting in force and where each came from.",
  operands: "",
  operandCount: { min: 0, max: 0 },
  options: {
    changed: { type: "boolean", doc: "Only the settings that are not at their default." },
    ...PLATFORM_OPTIONS,
  },
  help: `
Settings come from flags of millrace start, then the environment (MILLRACE_FLUSH_INTERVAL_MS), then millrace.config.ts, then the
defaults. Secrets are hidden.`,

  async run(call) {
    const { flags, terminal } = call;
    const client = connect(call);
    try {
      const { settings } = await client.json<{ settings: SettingView[] }>("/v1/config");
      const shown = settings.filter(({ source }) => !flags.has("changed") || source !== "default");
      if (flags.has("json")) {
        printJson(terminal, { settings: shown });
        return 0;
      }
      const columns = ["setting", "value", "from", "what it is"].map((name) => ({ name }));
      const rows = shown.map(({ name, value, source, doc }) => [name, value, source, doc]);
      const width = terminal.stdout.isTTY ? (terminal.stdout.columns ?? 80) : undefined;
      terminal.stdout.write(drawTable(columns, rows, width));
      return 0;
    } finally {
      client.close();
    }
  },
};
