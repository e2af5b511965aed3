/** Where `segment()` says that a stream is a source of messages. A symbol, so that no option of a user's stream can say it. */
export const MESSAGES = Symbol.for("millrace.segment");

/** What a message must have beyond its fields' types, by its type: keywords of the contract that Zod has no words for. */
export const SEGMENT_RULES = {
  allOf: [
    object({
      context: objectOrNull(),
      properties: objectOrNull(),
      traits: objectOrNull(),
      integrations: objectOrNull(),
    }),
    ofTypeMust(["track"], textIn("event")),
    ofTypeMust(["group"], textIn("groupId")),
    ofTypeMust(["alias"], { allOf: [textIn("previousId"), textIn("userId")] }),
    ofTypeMust(["track", "identify", "page", "screen", "group"], {
      anyOf: [textIn("userId"), textIn("anonymousId")],
    }),
  ],
} as const;

function object(properties: object, more: object = {}): object {
  return { type: "object", properties, ...more };
}

function textIn(name: string): object {
  return object({ [name]: { type: "string" } }, { required: [name] });
}

function ofTypeMust(types: readonly string[], must: object): object {
  const isType = object({ type: { enum: types } }, { required: ["type"] });
  // biome-ignore lint/suspicious/noThenProperty: it is a keyword of JSON Schema
  return { if: isType, then: must };
}

function objectOrNull(): object {
  return { type: ["object", "null"] };
}
