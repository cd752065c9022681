// Names of expressions and motions, made usable as the backend does it (backend/avatar/naming.py): what a page is told leads back
// to the model's own name.

/** The name with every other character than letters, digits, spaces and _ . ' - as "_". */
export function usable(name) {
  const typed = [...String(name)].map((char) => (/[\p{L}\p{N}_ .'-]/u.test(char) ? char : "_")).join("");
  return [...typed.replace(/^[^\p{L}\p{N}]+/u, "")].slice(0, 64).join("");
}

/** By which two spellings are the same name. */
export const key = (name) => usable(name).toLowerCase();
