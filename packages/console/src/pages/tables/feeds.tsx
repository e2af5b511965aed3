import { Link } from "wouter";
import type { TableView } from "../../api.ts";

/** Where rows would come from. */
export function Feeds({ table }: { table: TableView }) {
  const { inputs } = table.lineage;
  const [first] = inputs;
  if (first === undefined) return <p>Nothing feeds it; the platform writes it by itself.</p>;
  return (
    <p>
      Rows come from{" "}
      {inputs.map((name, i) => (
        <span key={name}>
          {i > 0 && ", "}
          <Link
            to={
              name.includes(".") ? `/tables/${encodeURIComponent(name)}` : `/streams/${encodeURIComponent(name)}/send`
            }
          >
            {name}
          </Link>
        </span>
      ))}
      {first.includes(".") ? ", which may be empty as well." : ": send it an event."}
    </p>
  );
}
