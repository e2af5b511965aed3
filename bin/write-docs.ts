// Writes the pages of docs/ that are derived from the code: `npm run docs:settings`, `npm run docs:errors`.
// Tests hold the committed pages to what this writes.
import { writeFileSync } from "node:fs";
import { allowed, environmentName, flagName, formatValue } from "../src/config/setting.ts";
import { declarations } from "../src/config/settings.ts";
import { ERRORS } from "../src/errors.ts";

export const DOCS: Record<string, { readonly file: string; readonly write: () => string }> = {
  settings: { file: "docs/settings.md", write: settingsPage },
  errors: { file: "docs/errors.md", write: errorsPage },
};

function settingsPage(): string {
  const lines = [
    "# Settings",
    "",
    "Written by `npm run docs:settings` from `src/config/settings.ts`.",
    "",
    "A flag of `millrace start` goes before the environment, that before `settings` in `millrace.config.ts`, that before the",
    "default. Durations are written like `250ms`, `5s`, `10m`, `12h`, `7d`, sizes like `512KiB`, `64MiB`, `2GiB`; a bare number is in the",
    "unit of the setting's name. `millrace config` shows the values in force and where each came from.",
    "",
  ];
  for (const [name, setting] of declarations()) {
    const value = typeof setting.default === "function" ? undefined : setting.default;
    const standard = setting.defaultText ?? (value === undefined ? "not set" : `\`${formatValue(setting, value)}\``);
    lines.push(`## ${name}`, "", setting.doc, "");
    lines.push(`- takes ${allowed(setting)}; default: ${standard}${setting.secret ? "; secret, never shown" : ""}`);
    lines.push(`- flag \`--${flagName(name)}\`, environment \`${environmentName(name)}\``, "");
  }
  return lines.join("\n");
}

function errorsPage(): string {
  const lines = [
    "# Errors",
    "",
    "Written by `npm run docs:errors` from `src/errors.ts`. Every failure has one code; codes are never reused for another meaning.",
    'Over HTTP: `{"error": {"code", "message", "hint", "details"}}` with the status given here. *Try again*: the same request can',
    "succeed later without being changed; where the server knows when, `Retry-After` says it. Words in braces are filled in.",
    "",
  ];
  for (const [code, { status, retryable, message, hint }] of Object.entries(ERRORS).sort(([a], [b]) =>
    a < b ? -1 : 1,
  )) {
    lines.push(
      `## ${code}`,
      "",
      `${status}${retryable ? ", try again" : ""}. ${sentence(message)}`,
      "",
      `*${hint}*`,
      "",
    );
  }
  return lines.join("\n");
}

function sentence(message: string): string {
  return message[0]!.toUpperCase() + message.slice(1);
}

if (import.meta.main) {
  const doc = DOCS[process.argv[2] ?? ""];
  if (doc === undefined) throw new Error(`name one of: ${Object.keys(DOCS).join(", ")}`);
  writeFileSync(new URL(`../${doc.file}`, import.meta.url), doc.write());
}
