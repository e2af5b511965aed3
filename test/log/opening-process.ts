/** Opens a data folder, says how it went, and stays until it is killed or its standard input ends. */
import { openDataFolder } from "../../src/log/data-folder.ts";

const [dir = "", user] = process.argv.slice(2);
if (user !== undefined) process.setuid?.(Number(user));
try {
  const folder = await openDataFolder(dir);
  process.stdout.write("open\n");
  for await (const _ of process.stdin);
  await folder.close();
} catch (error) {
  process.stdout.write(`${JSON.stringify({ ...(error as { toJSON(): object }).toJSON() })}\n`);
}
