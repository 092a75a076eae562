/** Dialogs: the browser's own <dialog>, which keeps focus inside, closes with Escape and gives focus back. */
import { messageOf, type Api, type ExportFormat, type Imported, type ImportFormat } from "../project/api";
import { button, el, type Child } from "./dom";
import { icon } from "./icons";
import type { Conflict } from "../project/sync";
import { toast } from "./toast";
import type { Annotation } from "../project/types";

interface Choice<T extends string> {
  value: T;
  name: string;
  kind?: "primary" | "danger";
}

interface Options<T extends string> {
  title: string;
  testid: string;
  content: Child[];
  choices: Choice<T>[];
  /** Whether Escape and the cross close it without a choice. */
  closable?: boolean;
  class?: string;
}

/** Shows a dialog; gives the choice, or null when it was closed. */
export function openDialog<T extends string>(options: Options<T>): Promise<T | null> {
  const { title, testid, content, choices, closable = true } = options;
  const heading = el("h2", { id: `${testid}-title` }, title);
  const cross = closable && closeButton(() => dialog.close());
  const head = el("header", { class: "dialog-head" }, heading, cross);
  const foot = el("footer", { class: "dialog-foot" });
  const dialog = el(
    "dialog",
    { class: `dialog ${options.class ?? ""}`, "aria-labelledby": heading.id, "data-testid": testid },
    head,
    el("div", { class: "dialog-body" }, ...content),
    choices.length > 0 && foot,
  );
  for (const { value, name, kind } of choices) {
    const chosen = button({
      name,
      content: [name],
      testid: `${testid}-${value}`,
      class: `button ${kind ?? "plain"}`,
      press: () => dialog.close(value),
    });
    if (kind === "primary") confirmWithEnter(dialog, value);
    foot.append(chosen);
  }
  if (!closable) dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("pointerdown", (event) => {
    if (closable && event.target === dialog && outside(dialog, event)) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  // A field, the main choice, or the choice that changes nothing.
  (dialog.querySelector<HTMLElement>("input.field:not([type=file])") ?? dialog.querySelector<HTMLElement>(".primary, .plain"))?.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve((dialog.returnValue || null) as T | null);
    });
  });
}

export function anyDialogOpen(): boolean {
  return document.querySelector("dialog[open]") !== null;
}

export async function confirmDialog(title: string, sentence: string, action: string): Promise<boolean> {
  const choice = await openDialog({
    title,
    testid: "confirm",
    content: [el("p", {}, sentence)],
    choices: [
      { value: "no", name: "Cancel" },
      { value: "yes", name: action, kind: "danger" },
    ],
  });
  return choice === "yes";
}

/** Two have changed the same mask: a person says which one stays. */
export async function conflictDialog({ mine, theirs }: Conflict, fileName: string): Promise<"mine" | "theirs"> {
  const choice = await openDialog({
    title: "This mask was also changed elsewhere",
    testid: "conflict",
    closable: false,
    content: [
      el("p", {}, `Another tab or person saved this mask of ${fileName} first. Which version should stay?`),
      el("div", { class: "versions" }, version("Yours", mine), version("Theirs", theirs)),
    ],
    choices: [
      { value: "theirs", name: "Take theirs" },
      { value: "mine", name: "Keep mine", kind: "primary" },
    ],
  });
  return choice === "mine" ? "mine" : "theirs";
}

function version(title: string, annotation: Annotation | null): HTMLElement {
  const facts: [string, string][] = annotation
    ? [
        ["Label", annotation.label ?? "none"],
        ["Area", `${annotation.area.toLocaleString("en")} px`],
        ["Predicted IoU", annotation.predicted_iou.toFixed(2)],
        ["Made", SOURCES[annotation.source]],
      ]
    : [["State", "deleted"]];
  const list = el("dl", { class: "facts" });
  for (const [name, value] of facts) list.append(el("dt", {}, name), el("dd", {}, value));
  return el("section", { class: "version" }, el("h3", {}, title), list);
}

const SOURCES: Record<Annotation["source"], string> = {
  manual: "by hand",
  interactive: "with clicks",
  automatic: "automatically",
};

const FORMATS: { format: ExportFormat; name: string; text: string }[] = [
  { format: "coco", name: "COCO", text: "One JSON file with run-length masks. Most training code reads it." },
  { format: "sa1b", name: "SA-1B", text: "A JSON file per image, as Segment Anything's own data set." },
  { format: "yolo", name: "YOLO", text: "Polygons as text, a file per image. Holes and small parts are simplified." },
  { format: "labelme", name: "LabelMe", text: "A JSON file of polygons per image, for LabelMe." },
  { format: "labelmap", name: "Label map", text: "A PNG per image: each pixel is the number of its label." },
  { format: "png", name: "PNG masks", text: "A black and white PNG per mask." },
];

export async function exportDialog(api: Api, unsaved: number): Promise<void> {
  const rows = FORMATS.map(({ format, name, text }) =>
    el(
      "a",
      { class: "choice", href: api.exportUrl(format), download: true, "data-testid": `export-${format}` },
      icon("export"),
      el("span", {}, el("strong", {}, name), el("span", { class: "hint" }, text)),
    ),
  );
  const waiting = unsaved > 0 && el("p", { class: "warning" }, `${unsaved} masks are not saved yet and will be missing.`);
  await openDialog({
    title: "Export annotations",
    testid: "export-dialog",
    content: [waiting, el("div", { class: "choices" }, ...rows)],
    choices: [],
  });
}

/** Asks for files, or takes those given, and for their format; gives what was imported, or null. */
export async function importDialog(api: Api, given: readonly File[] = []): Promise<Imported | null> {
  const kinds = el("select", { class: "field", id: "import-format", "data-testid": "import-format" });
  for (const { format, name } of FORMATS) {
    if (format !== "png") kinds.append(el("option", { value: format }, name));
  }
  const files = el("input", { type: "file", multiple: true, class: "field", id: "import-files", "data-testid": "import-files" });
  const held = new DataTransfer();
  for (const file of given) held.items.add(file);
  files.files = held.files;
  const choice = await openDialog({
    title: "Import annotations",
    testid: "import-dialog",
    content: [
      el("p", {}, "Masks are added to images of the same file name. Nothing is replaced."),
      el("label", { class: "form-row", for: kinds.id }, el("span", {}, "Format"), kinds),
      el("label", { class: "form-row", for: files.id }, el("span", {}, "Files, or a zip of them"), files),
    ],
    choices: [
      { value: "cancel", name: "Cancel" },
      { value: "import", name: "Import", kind: "primary" },
    ],
  });
  if (choice !== "import") return null;
  if (!files.files?.length) {
    toast("Choose at least one file to import.", "error");
    return null;
  }
  try {
    const imported = await api.importFiles(kinds.value as ImportFormat, files.files);
    await importedDialog(imported);
    return imported;
  } catch (error) {
    toast(`Nothing was imported: ${messageOf(error)}`, "error");
    return null;
  }
}

async function importedDialog({ annotations, images, skipped }: Imported): Promise<void> {
  const summary = `${annotations} ${annotations === 1 ? "mask" : "masks"} on ${images} ${images === 1 ? "image" : "images"}.`;
  if (!skipped.length) return toast(`Imported ${summary}`);
  const list = el("ul", { class: "skipped" }, ...skipped.map((sentence) => el("li", {}, sentence)));
  await openDialog({
    title: "Imported, with exceptions",
    testid: "imported",
    content: [el("p", {}, `Imported ${summary} Left out:`), list],
    choices: [{ value: "ok", name: "Close", kind: "primary" }],
  });
}

/** As in a form: Enter in a line of text is the main choice. */
function confirmWithEnter(dialog: HTMLDialogElement, value: string): void {
  dialog.addEventListener("keydown", (event) => {
    const inText = event.target instanceof HTMLInputElement && event.target.type === "text";
    if (event.key !== "Enter" || !inText || event.isComposing) return;
    event.preventDefault();
    dialog.close(value);
  });
}

function closeButton(press: () => void): HTMLButtonElement {
  return button({ name: "Close", content: [icon("cancel")], testid: "dialog-close", class: "button icon-button", press });
}

function outside(dialog: HTMLElement, { clientX, clientY }: PointerEvent): boolean {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return clientX < left || clientX > right || clientY < top || clientY > bottom;
}
