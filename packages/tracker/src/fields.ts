/**
 * The fields a tracker can fill in. A stream gets those that are listed for it and no others, so nothing leaves the device that
 * no contract names.
 */
export interface FieldValues {
  /** A new UUID for each event. */
  event_id: string;
  /** When it was tracked, by the device's clock: ISO 8601 in UTC. */
  occurred_at: string;
  /** UUID of this browser or installation, until `reset` or `optOut`. */
  anonymous_id: string;
  /** As `identify` and `alias` said; missing before. */
  user_id: string;
  /** As `group` said; missing before. */
  group_id: string;
  session_id: string;
  session_started_at: string;
  /** 1 for the first session of the anonymous id. */
  session_number: number;
  /** 1 for the first event of the session. */
  session_sequence: number;
  app_version: string;
  /** `@millrace/tracker/` and its version. */
  library: string;
  language: string;
  /** IANA name, such as `Europe/Berlin`. */
  time_zone: string;
  /** `Windows`, `macOS`, `iOS`, `Android`, `ChromeOS`, `Linux`; on Node what `os.type()` says. */
  os: string;
  /** `desktop`, `mobile`, `tablet`; on Node `server`. */
  device_type: string;
  user_agent: string;
  /** CSS pixels. */
  screen_width: number;
  screen_height: number;
  page_url: string;
  page_path: string;
  page_title: string;
  /** Missing where the browser tells none. */
  referrer: string;
  utm_source: string;
  utm_medium: string;
  utm_campaign: string;
  utm_term: string;
  utm_content: string;
}

export type FieldName = keyof FieldValues;
