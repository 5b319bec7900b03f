// What is typed into a filter, and which rows pass it.

/**
 * The words of a filter, all of which a row must have.
 * @param {string} text
 * @returns {(haystack: string) => boolean} of a text in lower case
 */
export function words(text) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (haystack) => wanted.every((word) => haystack.includes(word));
}

/**
 * Call it when nothing new was typed for a moment.
 * @param {() => void} act
 * @param {number} [ms]
 */
export function soon(act, ms = 120) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, ms);
  };
}
