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

/** An identifier as Spark's SQL writes it. */
export function quoteSparkName(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

/** A string as a literal of Spark's SQL, which knows escapes where standard SQL has none. */
export function quoteSparkLiteral(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
