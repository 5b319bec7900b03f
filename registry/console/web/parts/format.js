// Numbers and moments, as people read them.

const NUMBER = new Intl.NumberFormat("en");

/** @param {number} value */
export function number(value) {
  return NUMBER.format(value);
}

/** @param {number} value a rate per second */
export function rate(value) {
  return value >= 100 ? NUMBER.format(Math.round(value)) : String(Math.round(value * 10) / 10);
}

/** @param {number} value */
export function bytes(value) {
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let scaled = value;
  let unit = "B";
  for (const next of units) {
    if (scaled < 1024) break;
    scaled /= 1024;
    unit = next;
  }
  return `${scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)} ${unit}`;
}

/** @param {number} ms Unix ms @returns {string} `14:02:11`, and the day when it is not today */
export function moment(ms) {
  if (!Number.isFinite(ms) || ms <= 0) return "–";
  const at = new Date(ms);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString("en-CA")} ${time}`;
}

/** @param {number} ms a length of time */
export function duration(ms) {
  const s = Math.round(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

/** @param {string | undefined} seconds Unix seconds, as the API writes them */
export function ofSeconds(seconds) {
  return moment(Number(seconds ?? 0) * 1000);
}

/** @param {number} ms Unix ms @returns {string} as a field for moments has it */
export function local(ms) {
  const shifted = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19);
}
