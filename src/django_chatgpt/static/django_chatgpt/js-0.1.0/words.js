// The page's words come from its template, where they are translated.

export function wordsOf(root) {
  const { dataset } = root.querySelector("[data-words]");
  return (name, values = {}) =>
    (dataset[name] ?? name).replace(/\{(\w+)\}/g, (all, key) => values[key] ?? all);
}

// The element of a part; parts are named, as a page may hold more than what is ours.
export const part = (within, name) => within.querySelector(`[data-part="${name}"]`);

export const piece = (root, name) =>
  root.querySelector(`template[data-piece="${name}"]`).content.firstElementChild.cloneNode(true);
