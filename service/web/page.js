// What every part of the page does to the document.

export const el = (id) => document.getElementById(id);
export const make = (tag, props = {}) => Object.assign(document.createElement(tag), props);

/** Name and value, one line each, in a `dl`. */
export function rows(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
}

/** `button` copies what `text()` says; where there is no clipboard it is selected in `shown`, to be copied by hand. */
export function offerCopy(button, text, shown) {
  const name = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      Object.assign(shown, { textContent: text(), hidden: false }); // plain http elsewhere than here
      getSelection().selectAllChildren(shown);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = name), 1500);
  });
}
