/** A real SMTP server of this machine, with TLS and a user, that keeps what it takes. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";
import { CERTIFICATE, KEY } from "./mail-certificate.ts";

export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  readonly secure: boolean;
  readonly user: string | undefined;
  readonly text: string;
}

export interface MailServerOptions {
  readonly implicitTls?: boolean;
  readonly withoutTls?: boolean;
  /** Reply code for a recipient, or undefined to take it. */
  readonly refuse?: (recipient: string) => number | undefined;
  /** Reply code to the message itself. */
  readonly refuseData?: () => number | undefined;
}

export class MailServer {
  readonly mails: Mail[] = [];
  readonly #server: SMTPServer;
  #port = 0;

  private constructor({ implicitTls = false, withoutTls = false, refuse, refuseData }: MailServerOptions) {
    const reply = (code: number) => Object.assign(new Error("not now"), { responseCode: code });
    this.#server = new SMTPServer({
      ...{
        secure: implicitTls,
        key: KEY,
        cert: CERTIFICATE,
        authOptional: withoutTls,
        logger: false,
        disableReverseLookup: true,
      },
      ...(withoutTls && { disabledCommands: ["STARTTLS", "AUTH"] }),
      onAuth({ username, password }, _session, callback) {
        if (username === "alerts" && password === "the password") callback(null, { user: username });
        else callback(Object.assign(new Error("Invalid username or password"), { responseCode: 535 }));
      },
      onRcptTo({ address }, _session, callback) {
        const code = refuse?.(address);
        callback(code === undefined ? null : reply(code));
      },
      onData: (stream, { envelope, secure, user }, callback) => {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("end", () => {
          const code = refuseData?.();
          if (code !== undefined) return callback(reply(code));
          const from = envelope.mailFrom === false ? "" : envelope.mailFrom.address;
          const to = envelope.rcptTo.map(({ address }) => address);
          this.mails.push({
            from,
            to,
            secure,
            user: user as string | undefined,
            text: Buffer.concat(chunks).toString("utf8"),
          });
          callback(null);
        });
      },
    });
    this.#server.on("error", () => undefined); // clients that give up are part of the tests
  }

  static async start(options: MailServerOptions = {}): Promise<MailServer> {
    const server = new MailServer(options);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server.server, "listening");
    server.#port = (server.#server.server.address() as AddressInfo).port;
    return server;
  }

  get port(): number {
    return this.#port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
