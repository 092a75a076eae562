/** What floats over the picture: the draft's candidates with accept and cancel, and what "everything" found. */
import { button, el, setAttribute, setText } from "./dom";
import type { Draft, Editor } from "../editor";
import { icon } from "./icons";

const CANDIDATES = [0, 1, 2] as const;

export function buildDraftBar(host: HTMLElement, editor: Editor): void {
  const candidates = CANDIDATES.map((index) => {
    const value = el("span", { class: "candidate-iou" });
    const choice = button({
      name: `Candidate ${index + 1}`,
      key: String(index + 1),
      content: [el("span", { class: "candidate-number" }, String(index + 1)), value],
      testid: `candidate-${index + 1}`,
      class: "segment candidate",
      press: () => editor.chooseCandidate(index),
    });
    return { choice, value };
  });
  const chooser = el(
    "div",
    { class: "segments candidates", role: "group", "aria-label": "Candidates, with predicted IoU" },
    ...candidates.map(({ choice }) => choice),
  );
  const cancel = button({
    name: "Cancel",
    key: "Esc",
    content: [icon("cancel")],
    testid: "cancel",
    class: "button icon-button",
    press: () => editor.cancel(),
  });
  const accept = button({
    name: "Accept",
    key: "Enter",
    content: [icon("accept"), el("span", {}, "Accept")],
    testid: "accept",
    class: "button primary",
    press: () => editor.accept(),
  });
  host.append(chooser, cancel, accept);
  host.setAttribute("role", "group");
  host.setAttribute("aria-label", "Draft");
  const show = (draft: Draft | null): void => {
    host.hidden = !draft;
    if (!draft) return;
    host.classList.toggle("pending", draft.pending);
    candidates.forEach(({ choice, value }, index) => {
      const candidate = draft.candidates[index];
      choice.disabled = !candidate;
      setText(value, candidate ? candidate.predictedIou.toFixed(2) : "–");
      setAttribute(choice, "aria-pressed", String(!!candidate && draft.chosen === index));
      const iou = candidate ? `, predicted IoU ${candidate.predictedIou.toFixed(2)}` : "";
      setAttribute(choice, "aria-label", `Candidate ${index + 1}${iou}`);
    });
  };
  editor.draft.subscribe(show);
  show(editor.draft.value);
}

export interface ProposalBar {
  progress(done: number, total: number): void;
  /** The masks are there, or the search was given up. */
  finished(): void;
}

/** Progress of "everything", then how many masks can be taken. */
export function buildProposalBar(host: HTMLElement, editor: Editor, stop: () => void): ProposalBar {
  const bar = el("progress", { max: 1, "aria-label": "Finding all masks" });
  const text = el("span", { class: "proposal-text" });
  const take = button({
    name: "Take all",
    content: [icon("accept"), el("span", {}, "Take all")],
    testid: "take-all",
    class: "button primary",
    press: () => editor.takeProposals(),
  });
  const close = button({
    name: "Close",
    key: "Esc",
    content: [icon("cancel")],
    testid: "close-everything",
    class: "button icon-button",
    press: () => {
      stop();
      editor.proposals.show(null);
    },
  });
  host.append(bar, text, close, take);
  host.setAttribute("role", "group");
  host.setAttribute("aria-label", "Everything");
  let running = false;
  const show = (): void => {
    const found = editor.proposals.all.value;
    const left = found ? editor.proposals.left(editor.annotations.value).length : 0;
    // When all are taken there is no more to say, unless none was found.
    const idle = !found || (found.length > 0 && !left) || editor.tool.value !== "everything";
    // The draft comes first: one bar at a time.
    host.hidden = (!running && idle) || editor.draft.value !== null;
    bar.hidden = !running;
    take.hidden = running || !left;
    if (running) return;
    setText(text, left ? `${left} ${left === 1 ? "mask" : "masks"} found. Click one to take it.` : "No masks found.");
  };
  editor.proposals.all.subscribe(show);
  editor.annotations.subscribe(show);
  editor.draft.subscribe(show);
  editor.tool.subscribe(show);
  show();
  return {
    progress(done, total) {
      running = true;
      if (total > 0) {
        bar.value = done / total;
        setText(text, `Finding masks, ${Math.round((100 * done) / total)} %`);
      } else {
        bar.removeAttribute("value");
        setText(text, "Finding masks…");
      }
      show();
    },
    finished() {
      running = false;
      show();
    },
  };
}
