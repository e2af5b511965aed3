/**
 * The registry of error codes. Every failure a user can meet has one code here: its HTTP status, whether trying again
 * can help, the sentence that says what happened, and the next step. Codes are never reused for another meaning.
 * `docs/errors.md` is this registry, and a test holds the two together.
 */
interface ErrorSpec {
  /** HTTP status when the error ends a request. */
  readonly status: number;
  /** True when the same request can succeed later without being changed. */
  readonly retryable: boolean;
  /** One sentence: what, got, allowed. `{name}` takes the parameter of that name. */
  readonly message: string;
  /** What to do next. Takes parameters as the message does. */
  readonly hint: string;
}

export const ERRORS = {
  // --- general
  INTERNAL: {
    status: 500,
    retryable: false,
    message: "{what} failed unexpectedly",
    hint: "The server's log has the cause; nothing that was acknowledged is lost.",
  },
  SHUTTING_DOWN: {
    status: 503,
    retryable: true,
    message: "the platform is stopping and takes nothing new",
    hint: "Send the request again in a moment.",
  },
  // --- definitions (a project that does not load)
  PROJECT_NOT_FOUND: {
    status: 404,
    retryable: false,
    message: "there is no project in {dir}: {reason}",
    hint: "Name the folder that holds millrace.config.ts, or make a project with `millrace init`.",
  },
  PROJECT_INVALID: {
    status: 422,
    retryable: false,
    message: "the project in {dir} does not load ({count}):\n{list}",
    hint: "Correct what is listed; nothing was started or changed.",
  },
  PROJECT_EMPTY: {
    status: 422,
    retryable: false,
    message: "no module exports a stream or a table; {looked}",
    hint: "Export what `stream(…)` and `table(…)` give; `modules` in millrace.config.ts says which files are loaded.",
  },
  CONFIG_INVALID: {
    status: 422,
    retryable: false,
    message: "millrace.config.ts {reason}",
    hint: 'Write `export default defineConfig({ name: "shop" })`.',
  },
  MODULE_FAILED: {
    status: 422,
    retryable: false,
    message: "the module does not load: {reason}{place}",
    hint: "Correct the module; `modules` in millrace.config.ts says which files are loaded.",
  },
  NAME_INVALID: {
    status: 422,
    retryable: false,
    message: '{subject} cannot have the name "{got}": {allowed}',
    hint: "Choose another name.",
  },
  NAME_TAKEN: {
    status: 422,
    retryable: false,
    message: "{subject} is defined twice: here and in {other}",
    hint: "Rename or remove one of the two.",
  },
  FUNCTION_NAME_TAKEN: {
    status: 422,
    retryable: false,
    message: 'sqlFunction "{name}" has the name of a function that SQL has already',
    hint: "Choose another name.",
  },
  LOOKUP_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: "rows of {table} cannot be looked up: {reason}",
    hint: "It is read again by itself. Events that needed it are tried again, and then stand in the dead letters until they are retried.",
  },
  OPTION_UNKNOWN: {
    status: 422,
    retryable: false,
    message: '{subject} has no option "{option}"{nearest}',
    hint: "Its options are {allowed}.",
  },
  PLAN_INVALID: {
    status: 422,
    retryable: false,
    message: "the tracking plan cannot be used: {reason}",
    hint: "Give trackingPlan the plan's JSON as Segment's API or Typewriter writes it.",
  },
  OPTION_INVALID: {
    status: 422,
    retryable: false,
    message: "{option} of {subject} is {got}; it must be {allowed}",
    hint: "Correct the option.",
  },
  OPTION_MISSING: {
    status: 422,
    retryable: false,
    message: "{subject} needs {option}: {why}",
    hint: "Add the option.",
  },
  FIELD_NAME_INVALID: {
    status: 422,
    retryable: false,
    message: "{subject} cannot have the field {path}: {reason}",
    hint: "Rename the field in the schema and in what is sent.",
  },
  FIELD_UNKNOWN: {
    status: 422,
    retryable: false,
    message: '{option} of {subject} names "{field}", which is no field of its schema{nearest}',
    hint: "Its fields are {allowed}.",
  },
  FIELD_UNFIT: {
    status: 422,
    retryable: false,
    message: '{option} of {subject} names "{field}", which is {got}; it must be {allowed}',
    hint: "Choose another field.",
  },
  CRON_INVALID: {
    status: 422,
    retryable: false,
    message: '{subject} has the expression "{got}", which names no moments: {reason}{nearest}',
    hint: 'Write five fields (minute, hour, day, month, weekday) such as "0 2 * * *", or @hourly, @daily, @weekly, @monthly, @yearly.',
  },
  TIME_ZONE_UNKNOWN: {
    status: 422,
    retryable: false,
    message: '{subject} has the time zone "{got}", which does not exist{nearest}',
    hint: 'Use a name of the time zone database, such as "Europe/Berlin" or "UTC".',
  },
  TRIGGER_UNKNOWN: {
    status: 422,
    retryable: false,
    message: '{subject} is triggered by {what} "{name}", which does not exist{nearest}',
    hint: "Correct the name, or define what it names.",
  },
  WORKFLOW_CYCLE: {
    status: 422,
    retryable: false,
    message: "workflows start each other in a circle, which would never end: {path}",
    hint: "Remove one of these triggers.",
  },
  FUNCTION_STREAM_UNKNOWN: {
    status: 422,
    retryable: false,
    message: '{subject} {what} the stream "{name}", which does not exist{nearest}',
    hint: "Correct the name, or export the stream's definition from a module of the project. The streams are {allowed}.",
  },
  FUNCTION_STATE_UNFIT: {
    status: 422,
    retryable: false,
    message: "the state of {subject} cannot be kept as JSON: {reason}",
    hint: "Use what JSON can hold: text, numbers, booleans, objects, arrays and records; a moment as z.iso.datetime() or a number.",
  },
  SCHEMA_UNSUPPORTED: {
    status: 422,
    retryable: false,
    message: "field {path} of {subject} uses {feature}: {reason}",
    hint: "{instead}.",
  },
  REACT_KEY: {
    status: 422,
    retryable: false,
    message:
      '{subject} keeps state by "{key}", but stream "{stream}" has several partitions and {streamKey}, so events of one {key} are in several of them',
    hint: "Make it the stream's key, or emit the events into a stream that has it as its key.",
  },
  EVENT_LATE: {
    status: 422,
    retryable: false,
    message: 'the window "{window}" is final for the event of {time}: the watermark is {watermark}',
    hint: "Raise its `lateness` where events come later than that, or name a stream for them in `late`. A retry finds it late again.",
  },
  EVENT_AHEAD: {
    status: 422,
    retryable: false,
    message:
      'the window "{window}" does not take the event of {time}, which arrived at {arrival}: its time is more than {ahead} ahead (`ahead`)',
    hint: "Look at the sender's clock. Where such times are right, raise `ahead`.",
  },
  EVENT_TIMELESS: {
    status: 422,
    retryable: false,
    message: 'the window "{window}" does not take an event whose "{field}" is null or missing',
    hint: "Require the field in the stream's schema, or name a stream for such events in `late`.",
  },
  WINDOW_FULL: {
    status: 422,
    retryable: false,
    message: 'the window "{window}" holds all the events of key "{key}" that it may',
    hint: "Raise `most` in sliding(size, { most }), or use hopping windows, whose memory does not grow with the number of events.",
  },
  WINDOW_CONDITION: {
    status: 422,
    retryable: false,
    message: 'the `where` of window "{window}" gave {got}; it must give true or false',
    hint: "Return a boolean; a promise cannot be waited for.",
  },
  WINDOW_CYCLE: {
    status: 422,
    retryable: false,
    message: "windows are over each other in a circle: {path}",
    hint: "Let one of them be over the stream that the events come from.",
  },
  INPUT_UNKNOWN: {
    status: 422,
    retryable: false,
    message: '{subject} reads "{input}", which is neither a stream nor a table{nearest}{place}',
    hint: "The project has {allowed}.",
  },
  INPUT_REFUSED: {
    status: 422,
    retryable: false,
    message: "{subject} cannot use {input}: {reason}",
    hint: "{instead}.",
  },
  TABLE_CYCLE: {
    status: 422,
    retryable: false,
    message: "tables depend on each other in a circle: {path}",
    hint: "Let one of them read what the other reads instead of the other itself.",
  },
  STREAMS_JOINED: {
    status: 422,
    retryable: false,
    message: "{subject} reads {streams} row by row, and rows of a stream cannot wait for those of another",
    hint: 'Join streams in a refresh table: add `refresh: "full"` or `refresh: { by: {…} }`.',
  },
  COLUMN_UNKNOWN: {
    status: 422,
    retryable: false,
    message: '{option} of {subject} names "{column}", which is no column of the table{nearest}',
    hint: "Its columns are {allowed}.",
  },
  COLUMN_UNFIT: {
    status: 422,
    retryable: false,
    message: '{option} of {subject} names "{column}", which is {got}; it must be {allowed}',
    hint: "Choose another column, or cast it in the SQL.",
  },
  COLUMN_DUPLICATE: {
    status: 422,
    retryable: false,
    message: 'the SQL of {subject} gives two columns named "{column}"',
    hint: "Give one of them another name with `as`, or list the columns that are wanted.",
  },
  COLUMN_RESERVED: {
    status: 422,
    retryable: false,
    message: 'the SQL of {subject} names a column "{column}"; names that begin with _ are the platform\'s own',
    hint: "Give it another name with `as`.",
  },
  COLUMN_UNNAMED: {
    status: 422,
    retryable: false,
    message: "column {number} of the SQL of {subject} has no name: {expression}",
    hint: "Name it with `as`.",
  },
  EXPRESSION_INVALID: {
    status: 422,
    retryable: false,
    message: "{option} of {subject} is not {wanted}: {reason}",
    hint: "Write one SQL expression over {over}.",
  },
  KEY_NOT_APPEND: {
    status: 422,
    retryable: false,
    message: "{subject} has a key but is no append table: {reason}",
    hint: "Take `key` away, or select row by row from one stream.",
  },
  TYPE_UNSUPPORTED: {
    status: 400,
    retryable: false,
    message: "the type {type} cannot be stored in a table",
    hint: "Cast the column to a type that can: a number, text, boolean, timestamp, date, JSON, or a struct, list or map of these.",
  },
  // --- gateway
  ROUTE_UNKNOWN: {
    status: 404,
    retryable: false,
    message: "there is nothing at {method} {path}",
    hint: "Check the path; GET /v1/streams lists the streams, GET /v1/tables the tables.",
  },
  CONSOLE_NOT_BUILT: {
    status: 404,
    retryable: false,
    message: "the console was not built in this checkout",
    hint: "Run `npm run console:build` and start again; `npm ci` does it by itself unless it is told to leave scripts out.",
  },
  NOTEBOOK_UNKNOWN: {
    status: 404,
    retryable: false,
    message: "there is no notebook {id}",
    hint: "GET /v1/notebooks lists them; somebody may have removed it.",
  },
  NOTEBOOK_CHANGED: {
    status: 409,
    retryable: false,
    message:
      'the notebook "{name}" was changed by {by}: it has version {version}, and this change was made from version {from}',
    hint: "Load it again and make the change there, or keep yours as a notebook of its own.",
  },
  NOTEBOOK_TOO_LARGE: {
    status: 413,
    retryable: false,
    message: 'the notebook "{name}" has {bytes} bytes, and may have {most}',
    hint: "Divide it; results are not kept with it, only questions and text are.",
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    retryable: false,
    message: "{path} does not take {method}; it takes {allowed}",
    hint: "Use one of the methods in the Allow header.",
  },
  REQUEST_INVALID: {
    status: 400,
    retryable: false,
    message: "the request cannot be read: {reason}",
    hint: "Correct the request and send it again.",
  },
  REQUEST_HEADERS_TOO_LARGE: {
    status: 431,
    retryable: false,
    message: "the request's headers are larger than {limit} bytes",
    hint: "Send fewer or shorter headers.",
  },
  REQUEST_TIMEOUT: {
    status: 408,
    retryable: true,
    message: "the request did not arrive in time: {reason}",
    hint: "Send the request again, in smaller bodies if the connection is slow.",
  },
  EXPECTATION_FAILED: {
    status: 417,
    retryable: false,
    message: 'the expectation "{expectation}" is not known; known is "100-continue"',
    hint: "Leave the Expect header out.",
  },
  PARAMETER_INVALID: {
    status: 400,
    retryable: false,
    message: 'the parameter "{name}" is {got}; allowed is {allowed}',
    hint: "Correct the parameter and send the request again.",
  },
  PORT_IN_USE: {
    status: 500,
    retryable: false,
    message: "port {port} on {host} is taken by another process",
    hint: "Stop the process that holds it, or choose another port with --port.",
  },
  LISTEN_FAILED: {
    status: 500,
    retryable: false,
    message: "cannot listen on {host}:{port}: {reason}",
    hint: "Choose an address of this machine with --host and a port above 1023 with --port.",
  },
  UNAUTHENTICATED: {
    status: 401,
    retryable: false,
    message: "{reason}",
    hint: "Send a key as `Authorization: Bearer KEY`; the first start wrote an admin key to admin.key in the data folder.",
  },
  FORBIDDEN: {
    status: 403,
    retryable: false,
    message: 'the key "{name}" may not do this: it needs the scope "{scope}" and has {scopes}',
    hint: "Use a key with that scope, or create one with `millrace keys create`.",
  },
  ORIGIN_NOT_ALLOWED: {
    status: 403,
    retryable: false,
    message: "pages of {origin} may not send events here",
    hint: "Add the origin to the setting corsOrigins.",
  },
  STREAM_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no stream "{stream}"',
    hint: "{suggestion}",
  },
  PARTITION_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'the stream "{stream}" has no partition {partition}; it has {partitions}, counted from 0',
    hint: "Ask for a partition that exists.",
  },
  OVERLOADED: {
    status: 503,
    retryable: true,
    message: "more comes in than can be stored: {reason}",
    hint: "Nothing of the request was stored; send it again after the time in Retry-After.",
  },
  SHARE_EXCEEDED: {
    status: 429,
    retryable: true,
    message:
      'the key {key} has {inflight} bytes under way to the stream "{stream}", more than its share while {lanes} senders are served',
    hint: "Nothing of the request was stored; send it again after the time in Retry-After, or send less at once.",
  },
  SOURCE_INVALID: {
    status: 400,
    retryable: false,
    message: "the source is {got}; allowed are 1 to 200 printable ASCII characters",
    hint: "Shorten the Millrace-Source header, or leave it out.",
  },
  BODY_EMPTY: {
    status: 400,
    retryable: false,
    message: "the body holds no event",
    hint: "Send one JSON object, an array of objects, or one object per line.",
  },
  BODY_TOO_LARGE: {
    status: 413,
    retryable: false,
    message: "the body is larger than {limit} bytes{unpacked} (maxBodyBytes)",
    hint: "Send the events in smaller bodies.",
  },
  BODY_CUT_OFF: {
    status: 400,
    retryable: true,
    message: "the body ended after {got} bytes, before it was whole",
    hint: "Nothing of it was stored; send the request again.",
  },
  BODY_TYPE_UNSUPPORTED: {
    status: 415,
    retryable: false,
    message: "the content type {got} is not taken here; allowed are {allowed}",
    hint: "Set Content-Type to what the body is.",
  },
  BODY_CHARSET_UNSUPPORTED: {
    status: 415,
    retryable: false,
    message: 'the charset "{got}" is not taken; allowed is utf-8',
    hint: "Encode the body as UTF-8.",
  },
  BODY_ENCODING_UNSUPPORTED: {
    status: 415,
    retryable: false,
    message: 'the content encoding "{got}" is not taken; allowed is one of {allowed}',
    hint: "Compress the body once, with one of these, or not at all.",
  },
  BODY_ENCODING_BROKEN: {
    status: 400,
    retryable: false,
    message: "the body is not whole, valid {encoding}: {reason}",
    hint: "Compress the body again, or send it as it is.",
  },
  BODY_NOT_UTF8: {
    status: 400,
    retryable: false,
    message: "the body is not UTF-8: byte {position} begins no valid character",
    hint: "Encode the body as UTF-8.",
  },
  BODY_MALFORMED_JSON: {
    status: 400,
    retryable: false,
    message: "the body is not valid JSON: at byte {position} {expected} was expected, {got} stands there",
    hint: "Nothing of it was stored. One event per line goes as application/x-ndjson.",
  },
  EVENTS_ALL_REJECTED: {
    status: 422,
    retryable: false,
    message: "none of the {count} events was accepted; the first one: {first}",
    hint: "Each entry of `rejected` says what is wrong with its event; GET /v1/streams/{stream}/schema is the contract.",
  },
  EVENT_INVALID: {
    status: 422,
    retryable: false,
    message: "{violation}",
    hint: "GET /v1/streams/{stream}/schema is the contract the event must keep.",
  },
  EVENT_MALFORMED_JSON: {
    status: 422,
    retryable: false,
    message: "not valid JSON: at byte {position} {expected} was expected, {got} stands there",
    hint: "Send one JSON object per line.",
  },
  EVENT_NOT_UTF8: {
    status: 422,
    retryable: false,
    message: "the event is not UTF-8: byte {position} begins no valid character",
    hint: "Encode the event as UTF-8 JSON; bytes of another kind go into a field as base64.",
  },
  KINESIS_AGGREGATE_BROKEN: {
    status: 422,
    retryable: false,
    message: "the record begins as one aggregated by the Kinesis Producer Library and is none: {reason}",
    hint: "Send the record again as the library made it, or one event per record.",
  },
  EVENT_TOO_LARGE: {
    status: 422,
    retryable: false,
    message: "the event is {size} bytes; {limit} are allowed (maxEventBytes)",
    hint: "Send large content elsewhere and its address in the event, or raise maxEventBytes.",
  },
  EVENT_TOO_DEEP: {
    status: 422,
    retryable: false,
    message: "at byte {position} the event nests deeper than {limit} levels (maxNesting)",
    hint: "Flatten the event.",
  },
  EVENT_DUPLICATE_KEY: {
    status: 422,
    retryable: false,
    message: "the key {key} stands twice in one object{where}; parsers disagree on which value counts",
    hint: "Send each key once.",
  },
  EVENT_NOT_STORABLE: {
    status: 422,
    retryable: false,
    message: "at byte {position} {reason}",
    hint: "Send the value in a form that every database keeps exactly, for example a large number as a string.",
  },
  PLAN_VIOLATED: {
    status: 422,
    retryable: false,
    message: "against the tracking plan: {violation}",
    hint: "Correct the event or the plan; the dead letter can be retried once the plan has it.",
  },
  SEGMENT_BODY_INVALID: {
    status: 400,
    retryable: false,
    message: "the body is no {form}: {reason}",
    hint: 'POST /v1/batch takes {"batch": [messages], "sentAt", "context"}; the other paths take one message.',
  },
  WRITE_KEY_UNFIT: {
    status: 403,
    retryable: false,
    message: 'the key "{name}" names no Segment source: {reason}',
    hint: "Make a write key for a source: millrace keys create --name web --scopes write:SOURCE",
  },
  CLOUDEVENT_INVALID: {
    status: 400,
    retryable: false,
    message: "not a CloudEvent of version 1.0: {reason}",
    hint: "See the CloudEvents 1.0 specification; required are id, source, specversion and type.",
  },
  CONTRACT_NOT_COMPILABLE: {
    status: 500,
    retryable: false,
    message: 'the contract of stream "{stream}" cannot be checked: {reason}',
    hint: "Change the stream's schema in {file}.",
  },
  // --- topics of others as sources
  SOURCE_UNSET: {
    status: 422,
    retryable: false,
    message: "{source} needs the environment variable {variable}, which {reason}",
    hint: "Set the variable that the stream's `from` names with env(…), and start again.",
  },
  SOURCE_UNREACHABLE: {
    status: 503,
    retryable: true,
    message: "{source} cannot be read: {reason}",
    hint: "Check `brokers`, `tls` and the network between; it goes on by itself where it stopped.",
  },
  SOURCE_REFUSED: {
    status: 502,
    retryable: true,
    message: "{source} does not let the platform read: {reason}",
    hint: "Check `sasl` and `tls`; reading needs Read and Describe on the topic, and Read on the group {group}. It goes on by itself once it may.",
  },
  SOURCE_TOPIC_UNKNOWN: {
    status: 404,
    retryable: true,
    message: "{source} cannot be read: the brokers have no such topic",
    hint: "Check the topic's name and `brokers`; it is read as soon as it is there.",
  },
  SOURCE_TOPIC_REPLACED: {
    status: 409,
    retryable: false,
    message: "{source} is not the topic that was read before: {reason}",
    hint: "Give `from` another `group`: it begins at `start`. What was read of the former topic stays.",
  },
  SOURCE_RECORDS_GONE: {
    status: 410,
    retryable: false,
    message:
      "{source} has lost records before they were read: partition {partition} begins at offset {start}, and {from} is the next one to read",
    hint: 'Give `from` another `group` with `start: "earliest"`: it goes on with what is there, and nothing is read twice. Let the topic keep records longer than the platform may be away.',
  },
  SOURCE_PROGRESS_GONE: {
    status: 409,
    retryable: false,
    message:
      "it is not known how far {source} was read: the log of the stream begins at offset {start} of partition {partition}, and what says it lay before, behind {from}",
    hint: "Give `from` another `group`, and as `start` the time at which the platform stopped; streams with an `id` count what is read twice as duplicates.",
  },
  SOURCE_REGISTRY: {
    status: 503,
    retryable: true,
    message: "the schema registry of {source} does not answer: {reason}",
    hint: "Check `registry` and the network between; nothing is skipped, and it goes on by itself.",
  },
  SOURCE_RECORD_UNREADABLE: {
    status: 422,
    retryable: false,
    message: "the record is no event: {reason}",
    hint: "Its bytes are kept in the dead letter. Correct the sender, or `format` and `fields` of the stream's `from`.",
  },
  SOURCE_TOMBSTONE: {
    status: 422,
    retryable: false,
    message: "the record has no value (a tombstone){key}",
    hint: 'Say `tombstones: { flag: "…" }` to have it as an event in which that field is true, or `tombstones: "skip"`.',
  },
  // --- log
  LOG_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: 'the log of stream "{stream}" cannot be written: {reason}',
    hint: "Nothing was acknowledged; send the events again. If it lasts, {remedy}.",
  },
  LOG_UNREADABLE: {
    status: 503,
    retryable: true,
    message: 'the log of stream "{stream}" cannot be read at {file}: {reason}',
    hint: "Try again; if it lasts, check the disk and the file's permissions, or the brokers of kafkaBrokers.",
  },
  LOG_CORRUPT: {
    status: 500,
    retryable: false,
    message: 'events {from} to {to} of stream "{stream}", partition {partition}, do not match their checksum in {file}',
    hint: "The disk has damaged the file. The events around them are readable; restore the file from a backup, or read on behind the last one.",
  },
  LOG_OFFSET_GONE: {
    status: 410,
    retryable: false,
    message:
      'offset {offset} of stream "{stream}", partition {partition}, is no longer kept; the first one kept is {start}',
    hint: "Read from {start} on, or read the older events from the bronze table.",
  },
  LOG_OFFSET_AHEAD: {
    status: 416,
    retryable: false,
    message: 'offset {offset} of stream "{stream}", partition {partition}, lies beyond the end, which is {end}',
    hint: "Read from {end} or below. A consumer that is ahead of the log means that an older copy of the log was restored.",
  },
  LOG_PARTITION_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'stream "{stream}" has no open partition {partition}; it has {count}',
    hint: "Name a stream of the project and a partition from 0 on.",
  },
  LOG_STREAM_NAME: {
    status: 400,
    retryable: false,
    message: '"{stream}" cannot be the name of a stream in the log; letters, digits, _ and - are allowed',
    hint: "Rename the stream.",
  },
  LOG_BATCH_TOO_LARGE: {
    status: 413,
    retryable: false,
    message:
      'a batch of {bytes} bytes for stream "{stream}" is more than topic {topic} takes at once, which is {allowed} (max.message.bytes)',
    hint: "Send fewer events at once, lower maxBodyBytes, or raise max.message.bytes of the topic.",
  },
  LOG_WENT_BACK: {
    status: 503,
    retryable: false,
    message:
      'the log of stream "{stream}", partition {partition}, ended at offset {had} and now ends at {has}: {topic} was made again, or its brokers have lost acknowledged events',
    hint: "Nothing is taken from or added to it, because offsets would be given twice. What is stored is safe. Bring the topic back from a copy; or give the project a new kafkaTopicPrefix and a new lake, and import the tables.",
  },
  LOG_WORKER_TWICE: {
    status: 409,
    retryable: false,
    message: 'another process has joined group {group} as worker "{worker}"',
    hint: "Give every process a workerId of its own, and stop the one that should not run.",
  },
  LOG_BATCH_INVALID: {
    status: 400,
    retryable: false,
    message: 'a batch for stream "{stream}" is malformed: {flaw}',
    hint: "Give one event per line, each ended by a line break, and their number.",
  },
  KAFKA_UNREACHABLE: {
    status: 503,
    retryable: true,
    message: "Kafka does not answer at {broker}: {reason}",
    hint: "Check kafkaBrokers and that the brokers run. The addresses that they advertise must be reachable from here as well.",
  },
  KAFKA_CREDENTIALS: {
    status: 503,
    retryable: false,
    message: "Kafka at {broker} refuses the credentials: {reason}",
    hint: "Check kafkaSasl, kafkaUser and kafkaPassword.",
  },
  KAFKA_TLS: {
    status: 503,
    retryable: false,
    message: "there is no TLS connection to Kafka at {broker}: {reason}",
    hint: "Check kafkaTls, and that kafkaTlsCa names the authority that signed the brokers' certificates; kafkaTlsCert and kafkaTlsKey where they ask for one.",
  },
  KAFKA_NOT_ALLOWED: {
    status: 503,
    retryable: false,
    message: "Kafka does not let {user} {operation} {resource}",
    hint: "Grant it there (docs/kafka.md lists what is needed), or check kafkaUser.",
  },
  KAFKA_TOO_OLD: {
    status: 503,
    retryable: false,
    message: "the Kafka broker {broker} does not know {what}",
    hint: "Kafka 3.2 or later is needed.",
  },
  KAFKA_TOPIC_UNFIT: {
    status: 409,
    retryable: false,
    message: 'topic {topic} cannot hold stream "{stream}": {reason}',
    hint: "{remedy}",
  },
  DATA_FOLDER_IN_USE: {
    status: 409,
    retryable: true,
    message: "the data folder {dir} is in use by process {pid} on {host}",
    hint: "Stop that process, or give this one another folder with --data.",
  },
  DATA_FOLDER_NEWER: {
    status: 409,
    retryable: false,
    message: "the data folder {dir} has format {version}; this version of millrace knows formats up to {allowed}",
    hint: "Install the newer version of millrace that wrote it, or give another folder with --data.",
  },
  DATA_FOLDER_DISK: {
    status: 503,
    retryable: true,
    message: "the disk of the data folder refuses to work: {reason}",
    hint: "Free space on it or repair it, and start again; what was acknowledged is safe and nothing needs to be removed by hand.",
  },
  DATA_FOLDER_READ_ONLY: {
    status: 409,
    retryable: false,
    message: "the data folder {dir} cannot be written: {reason}",
    hint: "Give this user the right to write there, or give another folder with --data.",
  },
  DATA_FOLDER_UNKNOWN: {
    status: 409,
    retryable: false,
    message: "{file} does not say which format the data folder has: {reason}",
    hint: 'Restore the file, or write {"version":1} into it if millrace 0.1 wrote the folder.',
  },
  DATA_FOLDER_UNFINISHED: {
    status: 409,
    retryable: false,
    message: "the data folder {dir} is a restore that was not finished",
    hint: "Remove the folder and restore again; the backup is as it was.",
  },
  // --- backup and restore
  BACKUP_TARGET_REFUSED: {
    status: 409,
    retryable: false,
    message: "no backup can be made in {dir}: {reason}",
    hint: "Name a folder of its own for this platform's backups, outside of its data folder; it is made when it is missing.",
  },
  BACKUP_UNDER_WAY: {
    status: 409,
    retryable: true,
    message: "a backup into {dir} is under way",
    hint: "Wait for its end; there is one backup at a time.",
  },
  BACKUP_FAILED: {
    status: 500,
    retryable: true,
    message: "the backup into {dir} was not finished: {reason}",
    hint: "What had been copied is removed again and the platform goes on; see to the disk and try again.",
  },
  BACKUP_UNUSABLE: {
    status: 422,
    retryable: false,
    message: "{dir} holds no backup that can be restored: {reason}",
    hint: "Name a folder that `millrace backup` wrote to, or one of the finished backups in it.",
  },
  BACKUP_DAMAGED: {
    status: 422,
    retryable: false,
    message: "the file {file} of the backup {dir} is not what was backed up: {reason}",
    hint: "Restore another backup; each is a folder of its own. Backups made after one another share unchanged files.",
  },
  RESTORE_TARGET_REFUSED: {
    status: 409,
    retryable: false,
    message: "nothing can be restored into {dir}: {reason}",
    hint: "Name a folder that is empty or not there yet.",
  },
  RESTORE_FAILED: {
    status: 500,
    retryable: true,
    message: "the restore into {dir} was not finished: {reason}",
    hint: "What had been written is removed again; see to the disk and try again.",
  },
  STATE_NOT_EMPTY: {
    status: 409,
    retryable: false,
    message: "the database to restore the records into holds some already (in {table})",
    hint: "Name an empty database with --postgres-url, or none for the embedded one.",
  },
  STATE_COPY_CUT: {
    status: 422,
    retryable: false,
    message: "the copy of the records ends after {rows} rows, {expected} were written",
    hint: "The backup is damaged: restore another one.",
  },
  // --- lake
  OBJECT_NOT_FOUND: {
    status: 404,
    retryable: false,
    message: 'the lake holds no object "{key}"',
    hint: "It may have been removed by vacuum, or by hand; read a newer version of the table.",
  },
  OBJECT_KEY_INVALID: {
    status: 400,
    retryable: false,
    message: "the object key {key} is refused: {reason}",
    hint: "Keys are relative, `/`-separated and hold neither empty, `.` nor `..` segments.",
  },
  LAKE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: 'the lake cannot {operation} "{key}": {reason}',
    hint: "Free space on the disk or repair its permissions; nothing that was acknowledged is lost, and the work is tried again.",
  },
  STORE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: 'the store at {place} does not {operation} "{key}": {reason}',
    hint: "See whether the service is up and storeUrl and s3Endpoint name it. Nothing that was acknowledged is lost, and the work is tried again.",
  },
  STORE_BUCKET_MISSING: {
    status: 503,
    retryable: true,
    message: 'there is no bucket "{bucket}" at {endpoint}, which storeUrl names',
    hint: "Create the bucket or correct storeUrl or s3Endpoint; should it have been removed, bring its objects back. The work is tried again.",
  },
  STORE_ACCESS_DENIED: {
    status: 503,
    retryable: true,
    message: 'the store at {place} does not let these credentials {operation} "{key}": {reason}',
    hint: "Allow them s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the objects and s3:ListBucket on the bucket, or set other ones (s3AccessKeyId and s3SecretAccessKey, or those of the environment).",
  },
  STORE_CREDENTIALS: {
    status: 503,
    retryable: true,
    message: "the store at {place} does not take the credentials: {reason}",
    hint: "Set s3AccessKeyId and s3SecretAccessKey; without them those of the environment count (AWS_ACCESS_KEY_ID, AWS_PROFILE, a web identity or the machine's role).",
  },
  STORE_REGION: {
    status: 503,
    retryable: true,
    message: 'the bucket "{bucket}" is not reached in the region {region}: {reason}',
    hint: "Set s3Region to the bucket's region.",
  },
  STORE_CLOCK_SKEW: {
    status: 503,
    retryable: true,
    message: "the clock of this machine and that of the store at {place} are {apart} apart, and 5 minutes are allowed",
    hint: "Set the machine's clock by NTP: requests are signed with the time, and files are removed by their age.",
  },
  STORE_ENCRYPTION: {
    status: 503,
    retryable: true,
    message: "the store at {place} does not encrypt as s3Encryption asks ({asked}): {reason}",
    hint: "See whether the key of s3KmsKey exists, is enabled and may be used by these credentials, or choose another s3Encryption.",
  },
  STORE_UNSUPPORTED: {
    status: 501,
    retryable: false,
    message: "the store at {place} cannot hold tables: {reason}",
    hint: "Use a service that honours `If-None-Match: *` on PUT (AWS S3, MinIO, Ceph, R2 and others do, in their newer versions): without it two writers could replace each other's commits.",
  },
  STORE_ELSEWHERE: {
    status: 409,
    retryable: false,
    message: "the tables of this data folder are in {there}, and the settings name {here}",
    hint: "Set storeUrl as it was. To move the tables, copy all of them first while nothing runs, then remove {mark}.",
  },
  DELTA_FEATURE_UNSUPPORTED: {
    status: 501,
    retryable: false,
    message: 'table "{table}" cannot be {access}: it uses {features}',
    hint: "Drop the feature with the engine that owns the table, or copy its rows into a table without it.",
  },
  DELTA_CORRUPT: {
    status: 500,
    retryable: false,
    message: 'table "{table}" is damaged: {file} {reason}',
    hint: "Restore the file from a backup of the table's folder, or read an older version of the table.",
  },
  TABLE_UNAVAILABLE: {
    status: 503,
    retryable: false,
    message: 'table "{table}" is unavailable: {what}',
    hint: "{remedy}",
  },
  TABLE_BUILDING: {
    status: 503,
    retryable: true,
    message: 'table "{table}" is not complete yet: {reason}; {events} of {total} events are taken in',
    hint: "The platform builds it from bronze by itself, beside new events, and goes on after a restart: ask again later. `millrace status` shows how far it is.",
  },
  DATA_FILE_DAMAGED: {
    status: 503,
    retryable: false,
    message: 'table "{table}" has a damaged file: {file} {reason}; it holds {range}',
    hint: "{remedy}",
  },
  DELTA_VERSION_GONE: {
    status: 410,
    retryable: false,
    message: 'table "{table}" has nothing at {wanted}; it can be read from {first} to {last}',
    hint: "Ask for a version or a moment within that range.",
  },
  DELTA_COMMIT_INVALID: {
    status: 500,
    retryable: false,
    message: 'nothing was committed to table "{table}": {reason}',
    hint: "The request itself is wrong; the table is unchanged.",
  },
  DELTA_CONTENTION: {
    status: 503,
    retryable: true,
    message: 'other writers were first {attempts} times in a row when committing to table "{table}"',
    hint: "Nothing was committed; the same commit can be tried again.",
  },
  // --- engine
  SQL_SYNTAX: {
    status: 400,
    retryable: false,
    message: "the SQL does not parse: {reason}{place}",
    hint: "Correct the statement; the SQL is DuckDB's dialect.",
  },
  SQL_NOT_A_QUERY: {
    status: 400,
    retryable: false,
    message: "the SQL must be exactly one SELECT statement; got {got}",
    hint: "Send one SELECT (WITH … SELECT and FROM … count as one).",
  },
  SQL_BIND: {
    status: 400,
    retryable: false,
    message: "the SQL does not fit the tables it names: {reason}{place}",
    hint: "Check the names and types of the columns against the schema of the tables.",
  },
  SQL_FAILED: {
    status: 400,
    retryable: false,
    message: "the SQL failed: {reason}{place}",
    hint: "Correct the statement, or the values it meets, and send it again.",
  },
  FEATURE_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no feature "{feature}"{nearest}',
    hint: "`GET /v1/features` lists what there is.",
  },
  TABLE_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no table or stream "{table}"{nearest}',
    hint: "`GET /v1/tables` lists what there is.",
  },
  ENGINE_IO: {
    status: 500,
    retryable: true,
    message: "the engine could not read or write a file: {reason}",
    hint: "Try again; if it stays, the server's log names the file.",
  },
  QUERY_TIMEOUT: {
    status: 408,
    retryable: false,
    message: "the query took longer than {timeoutMs} ms and was stopped",
    hint: "Narrow the query, or ask for a longer time (timeoutMs, up to the setting queryTimeoutMs).",
  },
  QUERY_CANCELLED: {
    status: 499,
    retryable: true,
    message: "the query was cancelled before it had finished",
    hint: "Send it again if its result is still wanted.",
  },
  QUERY_OUT_OF_MEMORY: {
    status: 507,
    retryable: false,
    message: "the query needed more memory than the engine may use: {reason}",
    hint: "Narrow the query, or raise engineMemoryBytes.",
  },
  SPARK_DIALECT: {
    status: 422,
    retryable: false,
    message: "{subject} cannot be computed by Spark: {what}",
    hint: 'Instead: {instead}. Or compute the table with the embedded engine: engine: "duckdb".',
  },
  SPARK_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: "Spark at {spark} cannot be reached: {reason}",
    hint: "Check that the server runs and that sparkUrl names it. It is tried again with the next refresh; tables that it does not compute go on.",
  },
  SPARK_OUT_OF_MEMORY: {
    status: 507,
    retryable: false,
    message: "Spark at {spark} lacks the memory for a table: {reason}",
    hint: "Raise spark.executor.memory there (spark.driver.memory of a Spark without executors), or divide the table with refresh.by.",
  },
  SPARK_REFUSED: {
    status: 503,
    retryable: true,
    message: "Spark at {spark} refuses the platform: {reason}",
    hint: "Check the token in sparkUrl (sc://host:port/;token=…). It is tried again with the next refresh.",
  },
  SPARK_UNSUPPORTED: {
    status: 503,
    retryable: true,
    message: "{spark} is no Spark Connect server of version 4.0 or newer: got {got}",
    hint: "Name a Spark Connect server of Spark 4 in sparkUrl; its port is 15002 unless it was started with another.",
  },
  SPARK_STAGING: {
    status: 503,
    retryable: true,
    message: "Spark wrote files that the platform does not find in {place}: {reason}",
    hint: "Spark and the platform must see the same files: run both on one machine, or share the data folder under the same path.",
  },
  // --- flow
  SCHEMA_CHANGE_REFUSED: {
    status: 500,
    retryable: false,
    message: "definitions no longer fit what is stored:\n  {tables}",
    hint: "Columns that may be null can always be added. A table under a new name is built from all stored events by itself; what was stored under the old name stays on the disk.",
  },
  REFRESH_FAILED: {
    status: 422,
    retryable: false,
    message: "{table} cannot be refreshed{values}: {reason}",
    hint: "What failed keeps the rows of its last good refresh, everything else is refreshed. Mend the definition or the data: the next refresh tries again and closes the dead letter (`millrace dead-letters list --stage refresh`).",
  },
  REFRESH_NOT_POSSIBLE: {
    status: 409,
    retryable: false,
    message: "{table} follows its stream event by event; only tables that combine rows are refreshed",
    hint: "`millrace replay {table}` rebuilds it from bronze.",
  },
  REPLAY_RUNNING: {
    status: 409,
    retryable: true,
    message: "{table} is being replayed already{with}",
    hint: "Wait for that replay, or cancel it; the table stays as it is until then.",
  },
  REPLAY_RANGE: {
    status: 400,
    retryable: false,
    message: "a replay cannot begin there: {reason}",
    hint: "`--from-offset N` (or P:N for one partition) is the offset of an event, `--from-time T` a moment like 2026-01-31T12:00:00Z; without them all of the table is rebuilt.",
  },
  REPLAY_NOT_POSSIBLE: {
    status: 409,
    retryable: false,
    message: "{table} cannot be replayed so: {reason}",
    hint: "{hint}",
  },
  REPLAY_LOG_GONE: {
    status: 410,
    retryable: false,
    message:
      'the log of stream "{stream}", partition {partition}, no longer has offset {offset}: the oldest one kept is {start}',
    hint: "Replay from {start} on (`--from-offset {start}`), or from bronze.",
  },
  REPLAY_SOURCE_DAMAGED: {
    status: 500,
    retryable: false,
    message: "bronze.{stream} cannot be replayed from: {reason}",
    hint: "`millrace replay bronze.{stream}` rebuilds it from the log, as far back as segments are kept.",
  },
  REPLAY_CANCELLED: {
    status: 499,
    retryable: true,
    message: "the replay of {table} was cancelled; the table is as it was",
    hint: "Start it again if it is still wanted.",
  },
  COMMIT_CONFLICT: {
    status: 503,
    retryable: true,
    message: "{table} was changed by other commits each time this one was tried",
    hint: "Try again; if it stays, make sure that nothing but this platform writes to the table.",
  },
  LOG_BEHIND_LAKE: {
    status: 500,
    retryable: false,
    message: "the log of {stream}/{partition} ends at offset {end}, but {table} holds events up to {committed}",
    hint: "The log's folder was emptied or comes from an older copy, or its topic was made again: put back the log that belongs to this lake.",
  },
  LOG_PARTITIONS_FEWER: {
    status: 500,
    retryable: false,
    message: "the log of {stream} has {has} partitions, but {table} holds events of {had}",
    hint: "A folder of the log was removed, or its topic was made again with fewer partitions: put back the log that belongs to this lake. A new topic needs a new kafkaTopicPrefix and a new lake.",
  },
  FLUSH_FAILED: {
    status: 503,
    retryable: true,
    message: "events of {stream} could not be stored in its tables: {reason}",
    hint: "They are safe in the log and visible to queries; the flush is tried again by itself.",
  },
  WORKERS_BEHIND: {
    status: 503,
    retryable: true,
    message:
      "events of {stream} (partitions {partitions}) are stored by other workers, which have not got far enough within {seconds} s",
    hint: "They are safe in the log. See that a worker with the role flow runs and reports no failing flush; then try again.",
  },
  TRANSFORM_FAILED: {
    status: 422,
    retryable: false,
    message: "the SQL of {table} fails on this event: {reason}",
    hint: "Mend the definition, then `millrace dead-letters retry --table {table}`.",
  },
  CHECK_FAILED: {
    status: 422,
    retryable: false,
    message: '{table}: check "{check}" is not met: {condition}',
    hint: "Mend the data at its source or the check in the definition, then `millrace dead-letters retry --table {table}`.",
  },
  DEAD_LETTER_UNKNOWN: {
    status: 404,
    retryable: false,
    message: "there is no dead letter {id}{more}; nothing was done",
    hint: "`millrace dead-letters list` shows what there is.",
  },
  DEAD_LETTER_SETTLED: {
    status: 409,
    retryable: false,
    message: "the dead letter {id} is {status} already{more}; nothing was done",
    hint: "Only open dead letters can be retried or discarded.",
  },
  DEAD_LETTER_PAYLOAD: {
    status: 422,
    retryable: false,
    message: "the dead letter cannot be retried with another payload: {reason}",
    hint: "Retry one that was refused at the door; for an accepted event mend the definition, or send a corrected event with an id of its own and discard the letter.",
  },
  EVENT_UNKNOWN: {
    status: 404,
    retryable: false,
    message: "the stream {stream} has no event {id}; searched were {searched}",
    hint: "An event that was refused at the door was never accepted: `millrace dead-letters list --stage door` lists those.",
  },
  DEDUPE_INDEX_BEHIND: {
    status: 503,
    retryable: true,
    message: "the duplicate index in {dir} knows stored events up to offset {coveredTo} only, of {storedTo}",
    hint: "It is rebuilt from the bronze table; nothing that was acknowledged is lost, and the work is tried again.",
  },
  DEDUPE_INDEX_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: "the duplicate index in {dir} cannot {operation}: {reason}",
    hint: "Free space on the disk or repair its permissions; nothing that was acknowledged is lost, and the work is tried again.",
  },
  // --- serve
  SQL_FORBIDDEN: {
    status: 403,
    retryable: false,
    message: "a query may not use {what}: {why}",
    hint: "Queries compute from the platform's tables and the values they hold, and reach nothing else.",
  },
  QUERY_REQUEST_INVALID: {
    status: 400,
    retryable: false,
    message: "the query request cannot be read: {reason}",
    hint: 'Send {"sql": "select …", "params": […]} and, if wanted, maxRows, timeoutMs and id.',
  },
  QUERY_ID_TAKEN: {
    status: 409,
    retryable: false,
    message: 'a query with the id "{id}" is running already',
    hint: "Give each query an id of its own, such as a UUID, or none.",
  },
  QUERY_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'no query with the id "{id}" is running here that this key may cancel',
    hint: "It may have ended. `GET /v1/queries` lists what runs: a key's own queries, or all of them for one with the scope admin.",
  },
  QUERIES_BUSY: {
    status: 503,
    retryable: true,
    message: "{running} queries are running and {waiting} are waiting; no more can wait",
    hint: "Send the query again after the time in Retry-After.",
  },
  FORMAT_UNSUPPORTED: {
    status: 406,
    retryable: false,
    message: "the answer cannot be given as {got}; it can be as {allowed}",
    hint: "Set the Accept header to one of these, or leave it out for JSON.",
  },
  // --- state
  PUBLISH_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: "PostgreSQL, to which tables are published, cannot be reached: {reason}",
    hint: "It is tried again until it succeeds. Check that the server runs and that the URL and password in postgresUrl are right.",
  },
  PUBLISH_NAME_TAKEN: {
    status: 409,
    retryable: false,
    message: "{table} cannot be published: {name} exists in PostgreSQL and is not the platform's",
    hint: "Rename or drop what is there, or choose another schema with serve: { postgres: { schema: … } }. It is tried again by itself.",
  },
  PUBLISH_KEY_NOT_UNIQUE: {
    status: 409,
    retryable: false,
    message: "{table} cannot be published: several of its rows have the key {key}",
    hint: "PostgreSQL keeps the last version that was published. Mend the data or the SQL, or choose another key in serve.",
  },
  PUBLISH_BLOCKED: {
    status: 409,
    retryable: true,
    message: "{table} has a new shape, and {readers} still reads the old one",
    hint: "Readers keep the old table until their transactions end; it is tried again by itself. Ending the process named here ends the wait.",
  },
  PUBLISH_FAILED: {
    status: 500,
    retryable: true,
    message: "{table} cannot be published: {reason}",
    hint: "PostgreSQL keeps the last version that was published; it is tried again by itself.",
  },
  PUBLISH_ROW_REFUSED: {
    status: 422,
    retryable: false,
    message: "PostgreSQL cannot hold a row of {table}: {reason}",
    hint: "All other rows are published. Mend the data, or leave the value out in the table's SQL.",
  },
  BI_PORT_IN_USE: {
    status: 500,
    retryable: false,
    message: "PostgreSQL cannot take BI tools on port {port} of {host}: {reason}",
    hint: "Stop the process that holds the port, or choose another with --bi-port and --bi-host.",
  },
  BI_USER_INVALID: {
    status: 400,
    retryable: false,
    message: '"{name}" cannot be the name of a BI user',
    hint: "Use 1 to 63 lower-case letters, digits and _, a letter first; names that begin with pg_ or millrace are taken.",
  },
  BI_USER_TAKEN: {
    status: 409,
    retryable: false,
    message: 'PostgreSQL has a role "{name}" already',
    hint: "Choose another name, or revoke that user first (millrace bi-users list).",
  },
  BI_USER_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no BI user "{name}"{nearest}',
    hint: "`millrace bi-users list` shows them.",
  },
  BI_USERS_REFUSED: {
    status: 409,
    retryable: false,
    message: "PostgreSQL does not let the platform look after BI users: {reason}",
    hint: 'Publish a table with serve: "postgres" first. On a server of your own, give the user of postgresUrl the right CREATEROLE.',
  },
  STATE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: "the platform's records in PostgreSQL cannot be reached: {reason}",
    hint: "Events are still accepted and stored. Check that the PostgreSQL server runs, and postgresUrl where that names one.",
  },
  // --- processes that share the work
  ROLE_ABSENT: {
    status: 421,
    retryable: false,
    message: "this worker does not have the role {role}; {who}",
    hint: "Ask a worker that has the role: `millrace workers` lists them.",
  },
  CLUSTER_INCOMPLETE: {
    status: 409,
    retryable: false,
    message: "{why}, and several processes need a log, a store and records that they share; not set: {lacking}",
    hint: "Set what is missing, the same for every process, or run one process with every role.",
  },
  LAKE_OF_ANOTHER_LOG: {
    status: 409,
    retryable: false,
    message: "the lake in {lake} belongs to the log {expected}, and this process has the log {got}",
    hint: "Name that log, or another place for the lake. Two logs over one lake would give offsets that are taken; nothing was changed.",
  },
  WORKER_FORMAT: {
    status: 409,
    retryable: false,
    message: "{what} has format {got}; this release reads and writes format {allowed}",
    hint: "Run releases of one format together: end the workers of the other one first. Nothing was changed.",
  },
  WORKER_UNREACHABLE: {
    status: 503,
    retryable: true,
    message: "{what} is done by worker {worker}, which cannot be reached at {url}: {reason}",
    hint: "Check advertiseUrl of that worker, and that workers reach each other. If it has died, another one takes over in a moment.",
  },
  LEASE_FREE: {
    status: 503,
    retryable: true,
    message: "no worker does the work of {lease} at this moment",
    hint: "A worker with that role takes it over within seconds: `millrace workers` shows whether there is one.",
  },
  LEASE_LOST: {
    status: 503,
    retryable: true,
    message: "this worker no longer holds the lease {lease}: another one has it now",
    hint: "Nothing was changed. Ask again: the worker that holds it does the work.",
  },
  WORKER_TWICE: {
    status: 409,
    retryable: false,
    message: 'another process runs as worker "{worker}" and has taken over; this one stops',
    hint: "Give each process a workerId of its own. What this one had acknowledged is stored by the other.",
  },
  STATE_NEWER: {
    status: 500,
    retryable: false,
    message: "the platform's records have schema version {got}; this release knows versions up to {known}",
    hint: "Start the release that wrote them, or a newer one. Nothing was changed.",
  },
  STATE_MIGRATION_FAILED: {
    status: 500,
    retryable: false,
    message: "the platform's records could not be brought to schema version {version} ({name}): {reason}",
    hint: "Nothing was changed: every step is one transaction. Correct the cause and start again.",
  },
  POSTGRES_START_FAILED: {
    status: 500,
    retryable: false,
    message: "the embedded PostgreSQL did not {step}: {reason}",
    hint: "{log} says more. A PostgreSQL server of your own can take its place: set postgresUrl.",
  },
  POSTGRES_NOT_INSTALLED: {
    status: 500,
    retryable: false,
    message: "there are no usable PostgreSQL binaries for {platform}: {reason}",
    hint: "Install the packages again with optional ones and install scripts allowed, or set postgresUrl to a server of your own.",
  },
  POSTGRES_REFUSES_ROOT: {
    status: 500,
    retryable: false,
    message: "PostgreSQL does not run as root, and no other user can run it here: {reason}",
    hint: "Start as a normal user, keep the data in a folder that user can enter (--data /var/lib/millrace), or set postgresUrl.",
  },
  KEY_UNKNOWN: {
    status: 404,
    retryable: false,
    message: "there is no API key with the id {id}",
    hint: "List the keys with: millrace keys list",
  },
  KEY_INVALID: {
    status: 400,
    retryable: false,
    message: "the API key cannot be created: {reason}",
    hint: "A key has a name of 1 to 100 characters and one or more of the scopes ingest, query, admin, or write:STREAM for one stream alone.",
  },
  // --- config and command line
  IMPORT_FILE_UNKNOWN: {
    status: 400,
    retryable: false,
    message: "{path} cannot be imported: {reason}",
    hint: "Files are CSV, TSV, JSON, NDJSON or Parquet by their ending, plain or compressed (.gz, .zst, .br); --format says it for others.",
  },
  IMPORT_FILE_BROKEN: {
    status: 400,
    retryable: false,
    message: "{path} cannot be read{place}: {reason}",
    hint: "What was read before that place is imported. Correct the file, or say how it is written: millrace import --help",
  },
  IMPORT_COLUMN_MISSING: {
    status: 400,
    retryable: false,
    message: "{path} has no column for {fields} of stream {stream}; its columns are {columns}",
    hint: "Name the column of a field with --map FIELD=COLUMN.",
  },
  IMPORT_TARGET_UNCLEAR: {
    status: 400,
    retryable: false,
    message: "{target} cannot be imported into: {reason}",
    hint: "Name the stream that brings the rows; the tables after it follow by themselves.",
  },
  COMMAND_WRONG: {
    status: 400,
    retryable: false,
    message: "{reason}",
    hint: "{usage}",
  },
  PLATFORM_UNREACHABLE: {
    status: 503,
    retryable: true,
    message: "no platform answers at {url}: {reason}",
    hint: "Start one with `millrace start`, or name a running one with --url (or MILLRACE_URL).",
  },
  PLATFORM_KEY_MISSING: {
    status: 401,
    retryable: false,
    message: "there is no key for the platform at {url}: none was given, and {places}",
    hint: "Start a platform with `millrace start`, run the command in its project's folder, or give a key with --key (or MILLRACE_KEY).",
  },
  PLATFORM_ANSWER_STRANGE: {
    status: 502,
    retryable: false,
    message: "{url} answered {status}, and not as a platform would: {got}",
    hint: "Check that --url (or MILLRACE_URL) is the address of a Millrace platform.",
  },
  FOLDER_NOT_EMPTY: {
    status: 409,
    retryable: false,
    message: "{dir} already holds {names}, which init would overwrite",
    hint: "Name an empty or new folder: millrace init NAME",
  },
  // --- destinations of alerts
  FUNCTION_FEATURE: {
    status: 500,
    retryable: false,
    message: 'The function "{function}" reads the feature "{feature}", which is not among its `features`: {known}',
    hint: "Name it in the function's option `features`.",
  },
  FUNCTION_FAILED: {
    status: 500,
    retryable: false,
    message: 'the function "{function}" threw {reason}{place}',
    hint: "Correct the function or what it needs, then retry the dead letter.",
  },
  FUNCTION_TIMEOUT: {
    status: 500,
    retryable: false,
    message: 'the function "{function}" was not through with the event after {timeout} ms',
    hint: "Raise `timeout`, pass ctx.signal on to what the function waits for, or retry the dead letter later.",
  },
  FUNCTION_RETURNED: {
    status: 500,
    retryable: false,
    message: 'the function "{function}" gave {got}; a function gives nothing, or a promise of nothing',
    hint: "Use ctx.emit to pass an event on.",
  },
  FUNCTION_EMIT: {
    status: 500,
    retryable: false,
    message: 'the function "{function}" cannot emit {what}: {reason}',
    hint: "Emit one object per call, to a stream that the project has and that `emits`, where it is given, names.",
  },
  FUNCTION_STATE: {
    status: 500,
    retryable: false,
    message: 'the function "{function}" cannot set this state: {reason}',
    hint: "Set what the schema `state` describes.",
  },
  FUNCTION_NO_KEY: {
    status: 500,
    retryable: false,
    message: 'the function "{function}" has no state for this event, whose "{key}" is missing or null',
    hint: "Ask for ctx.key before the state, or make the field required.",
  },
  FUNCTION_ENDED: {
    status: 500,
    retryable: false,
    message: 'the function "{function}" calls {what} after its call for the event has ended',
    hint: "Await everything the function begins before it ends; what it emits or sets later belongs to no event.",
  },
  FUNCTION_CHANGED: {
    status: 409,
    retryable: false,
    message: 'the function "{function}" has state that its definition no longer fits: {reason}',
    hint: "Take the change back, or set `version: {version}` to begin with empty state.",
  },
  ALERT_CONDITION: {
    status: 500,
    retryable: false,
    message: 'the alert "{alert}" cannot judge this: {reason}',
    hint: "Correct the alert's functions: they are synchronous, `severity` gives info, warning or critical, and `summary` gives text.",
  },
  ALERT_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no alert "{alert}"',
    hint: "`GET /v1/alerts` lists alerts with their ids; a slash in an id is %2F in a path.",
  },
  ALERT_OVER: {
    status: 409,
    retryable: false,
    message: 'the alert "{alert}" is resolved since {since}',
    hint: "Nothing needs to be done about it any more.",
  },
  SILENCE_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no silence "{silence}"',
    hint: "`GET /v1/silences` lists silences with their ids.",
  },
  ALERT_ROWS: {
    status: 500,
    retryable: false,
    message: "the SQL of an alert gave more than {most} rows",
    hint: "Group its rows by what one alert is to be about, or give it a `where` that leaves only what is not as it should be.",
  },
  DESTINATION_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no destination "{destination}"{subject}{nearest}',
    hint: "{allowed}; destinations are defined with `webhook(…)`, `slack(…)`, `pagerduty(…)`, `opsgenie(…)`, `smtp(…)` and `toStream(…)`.",
  },
  DESTINATION_UNSET: {
    status: 422,
    retryable: false,
    message: "{destination} needs the environment variable {variable}, which {reason}",
    hint: "Set the variable that the destination's definition names with env(…), and start again.",
  },
  DELIVERY_REFUSED: {
    status: 502,
    retryable: false,
    message: "{destination} refused the message: {reason}",
    hint: "Correct the destination's definition or the other side, then retry the dead letter.",
  },
  DELIVERY_FAILED: {
    status: 502,
    retryable: true,
    message: "{destination} did not take the message: {reason}",
    hint: "It is tried again by itself for as long as `giveUpAfter` says; `millrace destinations test NAME` tries now.",
  },
  DELIVERY_GAVE_UP: {
    status: 502,
    retryable: false,
    message: "{destination} has not taken the message for {time}: {reason}",
    hint: "See to the destination, then retry the dead letter.",
  },
  // --- workflows and runs
  WORKFLOW_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no workflow "{workflow}"{nearest}',
    hint: "Workflows are defined in the project with `workflow(…)`; a change needs a restart.",
  },
  RUN_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no run "{run}"',
    hint: "`millrace runs list` shows the runs; finished ones are kept for `runRetentionMs`.",
  },
  RUN_STATE: {
    status: 409,
    retryable: false,
    message: "run {run} is {status}; only {allowed} can be {action}",
    hint: "`millrace runs show RUN` says how it stands.",
  },
  RUN_FAILED: {
    status: 422,
    retryable: false,
    message: "run {run} of workflow {workflow} {status}: {reason}",
    hint: "`millrace runs show RUN` says which step failed and why.",
  },
  RUN_CANCELLED: {
    status: 409,
    retryable: false,
    message: "the run was cancelled{by}",
    hint: "Start another run when the work is still wanted.",
  },
  RUN_TIMEOUT: {
    status: 504,
    retryable: false,
    message: "the run took longer than {timeoutMs} ms (`timeout` of its workflow)",
    hint: "Raise the timeout, or see in the run's steps what took long.",
  },
  RUN_CHANGED: {
    status: 409,
    retryable: false,
    message: "the run cannot go on: {reason}{code}",
    hint: "Restore what the run began with and `millrace runs retry` it, or start a new run. What is not the same each time belongs inside a step.",
  },
  RUN_INTERRUPTED: {
    status: 500,
    retryable: false,
    message: "the platform died {times} times in a row while this run was under way at {steps}",
    hint: "A step that takes the platform with it belongs into a process of its own: run.isolated, or run.exec with memoryBytes. Then retry the run.",
  },
  RUN_INPUT_INVALID: {
    status: 422,
    retryable: false,
    message: "the input of workflow {workflow} {reason}",
    hint: "Send JSON of at most 1 MiB.",
  },
  STEP_TIMEOUT: {
    status: 504,
    retryable: true,
    message: "step {step} took longer than {timeoutMs} ms (`timeout`)",
    hint: "Raise its timeout, or give it a retry policy. A function of run.step that goes on after its time is ignored, not stopped: it should heed `signal`; that of run.isolated is ended.",
  },
  STEP_INVALID: {
    status: 422,
    retryable: false,
    message: "step {step} {reason}",
    hint: "docs/workflows.md says what a step takes and gives.",
  },
  STEP_MEMORY: {
    status: 422,
    retryable: false,
    message:
      "step {step} used more memory than its limit of {memoryBytes} bytes (`memoryBytes`){used}, so its process was ended",
    hint: "Raise the limit, or let it work on less at once.",
  },
  STEP_DIED: {
    status: 422,
    retryable: true,
    message: "the process of step {step} {reason}{said}",
    hint: "The run's log has everything it printed. Its function gives its result by returning it.",
  },
  COMMAND_FAILED: {
    status: 422,
    retryable: true,
    message: "the command {command} {reason}{said}",
    hint: "The run's log has everything it printed.",
  },
  COMMAND_MEMORY: {
    status: 422,
    retryable: false,
    message:
      "the command {command} used {usedBytes} bytes of memory; its limit is {memoryBytes} (`memoryBytes`), so it was ended",
    hint: "Raise the limit, or let it work on less at once.",
  },
  BACKFILL_INVALID: {
    status: 422,
    retryable: false,
    message: "the backfill {reason}",
    hint: "Give a workflow with either from, to and by (hour, day, month), or a list of up to 10,000 partitions.",
  },
  BACKFILL_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no backfill "{backfill}"',
    hint: "`millrace runs backfill WORKFLOW …` answers with its id.",
  },
  // --- reactions
  REACT_OPEN_FAILED: {
    status: 422,
    retryable: false,
    message: "{what} cannot be opened in the thread of reactions: {reason}",
    hint: "Correct the module; its definitions must be the same in every thread that loads it.",
  },
  REACT_FAILED: {
    status: 422,
    retryable: false,
    message: "the handler threw: {reason}",
    hint: "Correct the handler, or the event, and retry the dead letter.",
  },
  REACT_EVENT_UNREADABLE: {
    status: 422,
    retryable: false,
    message: "the event cannot be read as JSON: {reason}",
    hint: "Its bytes in the log are damaged, or were written by something else than the platform. Discard the dead letter.",
  },
  REACT_TIMEOUT: {
    status: 422,
    retryable: false,
    message:
      "{operator} computed for {ms} ms without giving its thread back, which its time limit of {limit} ms forbids",
    hint: "Correct the handler, or give it a higher timeout, and retry the dead letter.",
  },
  REACT_THREAD_DIED: {
    status: 500,
    retryable: false,
    message: "the thread of reactions ended while {operator} had the event: {reason}",
    hint: "Correct the handler, which may take too much memory or call process.exit, and retry the dead letter.",
  },
  REACT_UNCAUGHT: {
    status: 500,
    retryable: false,
    message: "something a handler left running has failed: {reason}",
    hint: "Let handlers await what they begin; what fails later belongs to no event and is only told of here.",
  },
  REACT_CHECKPOINT_DAMAGED: {
    status: 500,
    retryable: false,
    message:
      "the checkpoint of lane {lane} ({stream}, partition {partition}) is damaged at byte {at} of {file}; its state is built again from event {from} on",
    hint: "Nothing needs to be done; check the disk.",
  },
  REACT_STATE_LOST: {
    status: 500,
    retryable: false,
    message: "lane {lane} ({stream}, partition {partition}) goes on without events {from} to {to}: {reason}",
    hint: "State that depends on them is not complete. Restore a backup to have it back.",
  },
  REACT_LOG_BEHIND: {
    status: 500,
    retryable: false,
    message:
      "lane {lane} ({stream}, partition {partition}) has applied events up to {position}, and the log ends at {end}; it goes on from there",
    hint: "The log has lost its end, or is of an older backup. State reflects events that are no longer there.",
  },
  REACT_LANE_TAKEN: {
    status: 503,
    retryable: true,
    message: "lane {lane} ({stream}, partition {partition}) is another worker's now",
    hint: "Nothing needs to be done: the other worker goes on from the last checkpoint. Ask again in a moment.",
  },
  REACT_UNAVAILABLE: {
    status: 503,
    retryable: true,
    message: "{operator} cannot answer now: {reason}",
    hint: "Ask again in a moment; GET /readyz says what is wrong if it lasts.",
  },
  REACT_OPERATOR_UNKNOWN: {
    status: 404,
    retryable: false,
    message: 'there is no operator "{operator}" on partition {partition}',
    hint: "Correct the name or the partition.",
  },
  STATE_INCOMPATIBLE: {
    status: 422,
    retryable: false,
    message:
      'state "{state}" of {operator} was written as {got} and is read as {wanted}; it is built again from the log',
    hint: "Nothing needs to be done.",
  },
  SETTING_UNKNOWN: {
    status: 400,
    retryable: false,
    message: 'there is no setting "{name}" ({source}){nearest}',
    hint: "docs/settings.md lists every setting; millrace config shows those in force.",
  },
  GEO_DATABASE_NOT_SET: {
    status: 422,
    retryable: false,
    message: "the setting geoDatabase is not set, and locate_ip needs its file",
    hint: 'Get a database of cities or countries in MaxMind\'s format, such as GeoLite2-City.mmdb, and name it in millrace.config.ts: geoDatabase: "GeoLite2-City.mmdb".',
  },
  GEO_DATABASE_UNUSABLE: {
    status: 422,
    retryable: false,
    message: "the geo database {path} cannot be used: {reason}",
    hint: "The setting geoDatabase names it. Get the file again, of cities or countries and in MaxMind's format (.mmdb), or take the setting away where nothing uses locate_ip.",
  },
  SETTING_INVALID: {
    status: 400,
    retryable: false,
    message: "the setting {name} ({source}) must be {allowed}; got {got}",
    hint: "docs/settings.md says what each setting takes.",
  },
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  cause?: unknown;
  /** Structured facts for programs, shown under `details`. */
  details?: unknown;
  /** Seconds a client should wait before it tries again. */
  retryAfterS?: number;
}

/** An error with a code of the registry; its message is ready to be shown to the user. */
export class MillraceError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly retryable: boolean;
  readonly hint: string;
  readonly details: unknown;
  readonly retryAfterS: number | undefined;

  constructor(code: ErrorCode, params: Record<string, unknown> = {}, options: ErrorOptions = {}) {
    const spec: ErrorSpec = ERRORS[code];
    super(fill(spec.message, params), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "MillraceError";
    this.code = code;
    this.status = spec.status;
    this.retryable = spec.retryable;
    this.hint = fill(spec.hint, params);
    this.details = options.details;
    this.retryAfterS = options.retryAfterS;
  }

  /** The `error` object of an HTTP answer. */
  toJSON(): { code: ErrorCode; message: string; hint: string; details?: unknown } {
    const base = { code: this.code, message: this.message, hint: this.hint };
    return this.details === undefined ? base : { ...base, details: this.details };
  }
}

/** The sentence of a code with its parameters, for places where a message is wanted and nothing is thrown. */
export function messageOf(code: ErrorCode, params: Record<string, unknown> = {}): string {
  return fill(ERRORS[code].message, params);
}

function fill(template: string, params: Record<string, unknown>): string {
  return template.replaceAll(/\{(\w+)\}/g, (whole, name: string) => (name in params ? String(params[name]) : whole));
}
