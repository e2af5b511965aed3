/** Tags of streams: by StreamName (AddTagsToStream, …) and by ARN (TagResource, …). They are kept with the platform's records. */

import { AwsError, invalidArgument, serialization, validation } from "./aws-error.ts";
import type { Access } from "./kinesis-streams.ts";
import { openStream, requireAccess, streamName } from "./kinesis-streams.ts";
import type { Call } from "./operations.ts";
import { missing, optionalInteger, optionalText, requiredTexts } from "./parameters.ts";

/** Where tags are kept: durable once resolved. @throws STATE_UNAVAILABLE */
export interface StreamTags {
  /** By key, in the order of the keys. */
  list(stream: string): Promise<readonly (readonly [key: string, value: string])[]>;
  /** Sets what is given, and no more keys than `most` in all: false, and nothing is set, when there would be more. */
  add(stream: string, tags: ReadonlyMap<string, string>, most: number): Promise<boolean>;
  remove(stream: string, keys: readonly string[]): Promise<void>;
}

const MOST_TAGS = 50;
const LONGEST_KEY = 128;
const LONGEST_VALUE = 256;

/** AddTagsToStream {StreamName | StreamARN, Tags: {key: value}}; TagResource {ResourceARN, Tags} */
export async function addTags(call: Call, arnIn?: string): Promise<undefined> {
  const name = named(call, "administer", arnIn);
  const tags = tagsIn(call.input["Tags"]);
  if (await call.tags.add(name, tags, MOST_TAGS)) return undefined;
  throw new AwsError(
    "LimitExceededException",
    `Failed to add tags to stream ${name} because a given stream cannot have more than ${MOST_TAGS} tags associated with it.`,
  );
}

/** RemoveTagsFromStream {StreamName | StreamARN, TagKeys}; UntagResource {ResourceARN, TagKeys} */
export async function removeTags(call: Call, arnIn?: string): Promise<undefined> {
  const name = named(call, "administer", arnIn);
  await call.tags.remove(name, requiredTexts(call.input, "TagKeys", MOST_TAGS, LONGEST_KEY));
  return undefined;
}

/** ListTagsForStream {StreamName | StreamARN, ExclusiveStartTagKey?, Limit?} */
export async function listTags(call: Call): Promise<object> {
  const name = named(call, "describe");
  const limit = optionalInteger(call.input, "Limit", 1, MOST_TAGS) ?? MOST_TAGS;
  const after = optionalText(call.input, "ExclusiveStartTagKey", LONGEST_KEY);
  const left = (await call.tags.list(name)).filter(([key]) => after === undefined || key > after);
  return { HasMoreTags: left.length > limit, Tags: left.slice(0, limit).map(([Key, Value]) => ({ Key, Value })) };
}

/** ListTagsForResource {ResourceARN} */
export async function listResourceTags(call: Call): Promise<object> {
  const name = named(call, "describe", "ResourceARN");
  return { Tags: (await call.tags.list(name)).map(([Key, Value]) => ({ Key, Value })) };
}

function named({ input, principal, doors }: Call, access: Access, arnIn?: string): string {
  const name = streamName(input, arnIn);
  requireAccess(principal, access, name);
  return openStream(doors, name).stream.name;
}

function tagsIn(value: unknown): ReadonlyMap<string, string> {
  if (value === undefined || value === null) throw missing("Tags");
  if (typeof value !== "object" || Array.isArray(value)) throw serialization("Tags is no map.");
  const tags = Object.entries(value);
  if (tags.length === 0) throw validation({}, "tags", "Member must have length greater than or equal to 1");
  if (tags.length > MOST_TAGS)
    throw validation(value, "tags", `Member must have length less than or equal to ${MOST_TAGS}`);
  for (const [key, text] of tags) {
    if (typeof text !== "string") throw serialization(`The value of the tag ${key} is no string.`);
    if (key.length < 1 || key.length > LONGEST_KEY || text.length > LONGEST_VALUE) {
      throw validation(
        key,
        "tags",
        `Map keys must have 1 to ${LONGEST_KEY} characters and values at most ${LONGEST_VALUE}`,
      );
    }
    if (!/^[\p{L}\p{Z}\p{N}_.:/=+\-@%]*$/u.test(key + text)) {
      throw invalidArgument(
        "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @.",
      );
    }
  }
  return new Map(tags as [string, string][]);
}
