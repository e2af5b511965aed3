/** Text of a notebook: headings (`#`), lists (`-`), `code` and paragraphs. It is made of elements, never of markup that somebody wrote. */
import { Fragment } from "react";

export function Prose({ text }: { text: string }) {
  const blocks = text.split(/\n{2,}/).filter((block) => block.trim() !== "");
  return (
    <div className="prose">
      {blocks.map((block, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a block is its place
        <Block key={i} block={block} />
      ))}
    </div>
  );
}

function Block({ block }: { block: string }) {
  const heading = /^(#{1,3})\s+(.*)$/.exec(block.trim());
  if (heading) {
    const words = <Line text={heading[2] ?? ""} />;
    return heading[1] === "#" ? <h2>{words}</h2> : <h3>{words}</h3>;
  }
  const lines = block.split("\n");
  if (lines.every((line) => /^\s*[-*]\s/.test(line))) {
    return (
      <ul>
        {lines.map((line) => (
          <li key={line}>
            <Line text={line.replace(/^\s*[-*]\s+/, "")} />
          </li>
        ))}
      </ul>
    );
  }
  return (
    <p>
      <Line text={lines.join(" ")} />
    </p>
  );
}

function Line({ text }: { text: string }) {
  return text.split(/(`[^`]+`)/).map((part, i) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: a part is its place
    <Fragment key={i}>{/^`[^`]+`$/.test(part) ? <code>{part.slice(1, -1)}</code> : part}</Fragment>
  ));
}
