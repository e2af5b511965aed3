/** Columns of the tables of a Segment source that more than one table has. */

/** Columns that every kind of message has. */
export const COMMON = ["id", "anonymous_id", "user_id", "received_at", "sent_at", "original_timestamp", `"timestamp"`];

/** Column of the context and where it stands there. Text, for SDKs do not agree on more (a build is a number here and a string there). */
export const CONTEXT: readonly (readonly [string, string])[] = [
  ["context_ip", "ip"],
  ["context_user_agent", "userAgent"],
  ["context_locale", "locale"],
  ["context_timezone", "timezone"],
  ["context_group_id", "groupId"],
  ["context_library_name", "library.name"],
  ["context_library_version", "library.version"],
  ["context_app_name", "app.name"],
  ["context_app_version", "app.version"],
  ["context_app_build", "app.build"],
  ["context_app_namespace", "app.namespace"],
  ["context_device_id", "device.id"],
  ["context_device_type", "device.type"],
  ["context_device_manufacturer", "device.manufacturer"],
  ["context_device_model", "device.model"],
  ["context_device_name", "device.name"],
  ["context_os_name", "os.name"],
  ["context_os_version", "os.version"],
  ["context_network_carrier", "network.carrier"],
  ["context_page_url", "page.url"],
  ["context_page_path", "page.path"],
  ["context_page_title", "page.title"],
  ["context_page_search", "page.search"],
  ["context_page_referrer", "page.referrer"],
  ["context_campaign_name", "campaign.name"],
  ["context_campaign_source", "campaign.source"],
  ["context_campaign_medium", "campaign.medium"],
  ["context_campaign_term", "campaign.term"],
  ["context_campaign_content", "campaign.content"],
];

export const CONTEXT_COLUMNS = [
  ...CONTEXT.map(([column]) => column),
  "context_screen_width",
  "context_screen_height",
  "context_screen_density",
];

/** Read from the context at once: the engine then parses it once for all columns. */
export const CONTEXT_PATHS = [...CONTEXT.map(([, path]) => path), "screen.width", "screen.height", "screen.density"];
