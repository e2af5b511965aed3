/**
 * Slack's incoming webhooks: `{"text", "blocks"}`. The text is what notifications show; the blocks are a header, a line of fields and the summary for
 * each change. Slack refuses a message beyond its limits, so texts are cut to them: 150 characters in a header, 3,000 in a section, 50 blocks.
 */
import { post } from "./http-post.ts";
import { type Change, type Sender, shortened } from "./sender.ts";

export interface SlackParts {
  readonly url: string;
  readonly timeoutMs: number;
  readonly secrets: readonly string[];
  readonly clock: () => number;
}

/** Three blocks each, below the 50 that a message takes. */
const MOST_CHANGES = 15;

export function slackSender({ url, timeoutMs, secrets, clock }: SlackParts): Sender {
  return {
    address: new URL(url).origin,
    mostChanges: MOST_CHANGES,
    async send(changes, signal) {
      await post({ url, headers: {}, body: JSON.stringify(slackMessage(changes)), timeoutMs, secrets, clock }, signal);
    },
  };
}

export function slackMessage(changes: readonly Change[]): { text: string; blocks: object[] } {
  const first = changes[0] as Change;
  const more = changes.length > 1 ? ` (and ${changes.length - 1} more)` : "";
  return {
    text: `${escaped(`${title(first)}: ${first.summary}`, 3000)}${more}`,
    blocks: changes.flatMap(blocksOf),
  };
}

const MARKS: Readonly<Record<string, string>> = {
  info: ":information_source:",
  warning: ":warning:",
  critical: ":rotating_light:",
};

function blocksOf(change: Change): object[] {
  const { severity, state, kind, name, key, at, summary } = change;
  const mark =
    state === "firing" ? (MARKS[severity] ?? ":warning:") : state === "resolved" ? ":white_check_mark:" : ":eyes:";
  const facts = [
    `*Severity* ${severity}`,
    `*About* ${code(key)}`,
    `*Alert* ${escaped(`${kind}/${name}`, 500)}`,
    `*At* ${at}`,
  ];
  return [
    { type: "header", text: { type: "plain_text", text: shortened(`${mark} ${title(change)}`, 150), emoji: true } },
    { type: "section", text: { type: "mrkdwn", text: escaped(summary || name, 3000) } },
    { type: "context", elements: facts.map((text) => ({ type: "mrkdwn", text })) },
  ];
}

function title({ state, name }: Change): string {
  return `${state === "firing" ? "Firing" : state === "resolved" ? "Resolved" : state}: ${name}`;
}

/** A key in a code span, which a backtick would end. An element of a context takes 2,000 characters at most, escaped ones counted as they are written. */
function code(text: string): string {
  return `\`${escaped(text, 1500).replaceAll("`", "'") || " "}\``;
}

const OWN: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

/** Text with the three characters escaped that Slack reads as its own, of at most so many characters as it is written. */
function escaped(text: string, most: number): string {
  let written = "";
  for (const character of text.toWellFormed()) {
    const next = OWN[character] ?? character;
    if (written.length + next.length >= most) return `${written}…`;
    written += next;
  }
  return written;
}
