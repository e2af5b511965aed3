/** An identifier as SQL text, always quoted: names of users are never pasted into SQL as they are. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A table's or stream's name (`orders`, `silver.orders`) as SQL text, each part quoted. */
export function quoteName(name: string): string {
  const dot = name.indexOf(".");
  return dot < 0
    ? quoteIdentifier(name)
    : `${quoteIdentifier(name.slice(0, dot))}.${quoteIdentifier(name.slice(dot + 1))}`;
}

/** A string as an SQL literal. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
