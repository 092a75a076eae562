/** Elements in one expression. */

type Attributes = Record<string, string | number | boolean | null | undefined>;
export type Child = Node | string | null | undefined | false;

/** An element with attributes (`true` is an empty one, `false` and null none) and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  for (const child of children) if (child) element.append(child);
  return element;
}

/** Sets an attribute, or takes it away; touches nothing that is already so. */
export function setAttribute(element: Element, name: string, value: Attributes[string]): void {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Sets the text of an element; touches nothing when it is already so. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no #${id}.`);
  return element as T;
}

export interface ButtonOptions {
  /** What it is called, for everyone who cannot see the icon; also its tooltip. */
  name: string;
  /** An icon, a text, or both. */
  content: Child[];
  testid: string;
  class?: string;
  /** The key that does the same, shown in the tooltip. */
  key?: string;
  press: (event: MouseEvent) => void;
}

export function button({ name, content, testid, key, press, ...rest }: ButtonOptions): HTMLButtonElement {
  const element = el(
    "button",
    {
      type: "button",
      class: rest.class ?? "button",
      "aria-label": name,
      title: key ? `${name} (${key})` : name,
      "data-testid": testid,
    },
    ...content,
  );
  element.addEventListener("click", (event) => {
    press(event);
    // After a click with a pointer, Enter belongs to the draft again and not to the button.
    if (event.detail && !element.closest("dialog")) element.blur();
  });
  return element;
}
