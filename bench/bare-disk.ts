/** The peers on disk: what the file system gives when nothing but the bytes themselves is written or read. */
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";

/** Bytes per second appended to one file in `dir`, `bytes` at a time, each with an fdatasync before the next. */
export async function bareAppend(dir: string, bytes: Buffer, durationMs: number): Promise<number> {
  const file = await open(join(dir, "bare-append"), "w");
  try {
    let written = 0;
    const startedMs = performance.now();
    while (performance.now() - startedMs < durationMs) {
      await file.write(bytes);
      await file.datasync();
      written += bytes.length;
    }
    return (written / (performance.now() - startedMs)) * 1000;
  } finally {
    await file.close();
  }
}

/** Milliseconds to read all files of a folder, one after the other, into one buffer. */
export async function bareRead(dir: string): Promise<number> {
  const buffer = Buffer.allocUnsafe(1 << 20);
  const startedMs = performance.now();
  for (const name of await readdir(dir)) {
    const file = await open(join(dir, name));
    while ((await file.read(buffer, 0, buffer.length)).bytesRead > 0);
    await file.close();
  }
  return performance.now() - startedMs;
}
