import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Unpacks the regular files of a tar archive (ustar, with long names of GNU and pax) below `folder`. */
export async function unpackTar(archive: Uint8Array, folder: string): Promise<void> {
  let longName: string | undefined;
  for (let at = 0; at + 512 <= archive.length; ) {
    const header = archive.subarray(at, at + 512);
    if (header.every((byte) => byte === 0)) return;
    const size = Number.parseInt(text(header.subarray(124, 136)), 8);
    const body = archive.subarray(at + 512, at + 512 + size);
    const type = String.fromCharCode(header[156]!);
    const prefix = text(header.subarray(257, 262)) === "ustar" ? text(header.subarray(345, 500)) : "";
    if (type === "L") longName = text(body);
    else if (type === "x") longName = /\d+ path=(.*)\n/.exec(new TextDecoder().decode(body))?.[1];
    else {
      const name = longName ?? [prefix, text(header.subarray(0, 100))].filter(Boolean).join("/");
      longName = undefined;
      if (type === "0" || type === "\0") {
        const path = join(folder, name);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, body);
      }
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
