/** The keys of the simulated clients, made with an admin key as a person would and revoked at the end. */
export interface Access {
  /** For apps, which anybody can open and read: writes to the stream `app` and nothing else. */
  readonly writeKey: string;
  /** For the back end. */
  readonly ingestKey: string;
  revoke(): Promise<void>;
}

/** The platform does not take what it is sent, for a reason that sending again does not mend. */
export class SendingError extends Error {}

/** A key that is no admin key is used for all, as it is. */
export async function openAccess(url: string, key: string): Promise<Access> {
  const ask = (path: string, method: string, body?: object): Promise<Response> =>
    fetch(`${url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((error: TypeError) => {
      throw new SendingError(
        `nobody answers at ${url} (${(error.cause as Error | undefined)?.message ?? error.message})`,
      );
    });
  const made: string[] = [];
  const make = async (name: string, scope: string): Promise<string | undefined> => {
    const response = await ask("/v1/keys", "POST", { name, scopes: [scope] });
    if (response.status === 403) return undefined;
    if (!response.ok)
      throw new SendingError(`making a key was answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
    const answer = (await response.json()) as { key: { id: string }; token: string };
    made.push(answer.key.id);
    return answer.token;
  };
  return {
    writeKey: (await make("simulated apps", "write:app")) ?? key,
    ingestKey: (await make("simulated back end", "ingest")) ?? key,
    async revoke() {
      try {
        for (const id of made) await (await ask(`/v1/keys/${id}`, "DELETE")).arrayBuffer();
      } catch (error) {
        if (!(error instanceof SendingError)) throw error;
        console.error(`simulator: its keys are not revoked: ${error.message}`);
      }
    },
  };
}
