// @ts-check
// The default packet of the Rust and .NET libraries.

/**
 * @param {string} data
 * @param {Date} [at]
 */
export function encodePacket(data, at = new Date()) {
  return JSON.stringify({ Data: data, Timestamp: at.toISOString() });
}

/** @param {string} text */
export function decodePacket(text) {
  const bare = { data: text, timestamp: new Date().toISOString() };
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return bare;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return bare;
  }
  const data = field(value, "data");
  const timestamp = field(value, "timestamp");
  const says = data === null ? "" : String(data);
  if (data === undefined || typeof data === "object" || says.trim() === "") {
    return bare;
  }
  return { data: says, timestamp: typeof timestamp === "string" ? timestamp : null };
}

/**
 * The last member with that name; case is ignored.
 * @param {Record<string, unknown>} value
 * @param {string} name
 */
function field(value, name) {
  const key = Object.keys(value).findLast((key) => key.toLowerCase() === name);
  return key === undefined ? undefined : value[key];
}
