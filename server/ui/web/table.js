// table.js — looks words of others up in tables of ours.

/** `table[key]`, if it is the table's own: `constructor` and the like are nobody's entry. */
export function own(table, key) {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}
