/** What somebody might ask first, about what is really there. */
import { Empty, Snippet } from "../../ui/ui.tsx";

export function FirstQuestions({ names, ask }: { names: readonly string[]; ask: (sql: string) => void }) {
  const gold = names.find((name) => name.startsWith("gold.")) ?? names.find((name) => name.startsWith("silver."));
  const questions = [
    ...(gold === undefined ? [] : [{ label: `What is in ${gold}?`, sql: `select * from ${gold} limit 100` }]),
    { label: "Does everything balance?", sql: "select * from system.ledger" },
    {
      label: "What was refused, and why?",
      sql: "select code, stage, count(*) as events from system.dead_letters group by all order by events desc",
    },
  ];
  return (
    <Empty title="Ask something">
      <ul className="row">
        {questions.map(({ label, sql }) => (
          <li key={label}>
            <button type="button" className="button" onClick={() => ask(sql)}>
              {label}
            </button>
          </li>
        ))}
      </ul>
      <details>
        <summary>As it was yesterday, or with a parameter</summary>
        <Snippet
          label="time travel"
          text={`select * from ${gold ?? "silver.orders"} at (timestamp => now() - interval 1 day)\nselect * from ${gold ?? "silver.orders"} where country = $country`}
        />
      </details>
    </Empty>
  );
}
