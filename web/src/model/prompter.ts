/**
 * Asks the model: at most one hover preview at a time, and always for the newest place; a click on the very place
 * that the preview showed, or that was asked about when the button went down, takes that answer.
 */
import type { Draft } from "../document";
import type { Prediction, Prompt, Segmenter } from "./segmenter";

export class Prompter {
  private shown: { prompt: Prompt; answer: Promise<Prediction> } | null = null;
  /** Whether a preview, and how many questions, wait for an answer. */
  private busy = false;
  private asking = 0;
  private next: { prompt: Prompt; show: (prediction: Prediction) => void } | null = null;
  /** Counts what makes earlier answers useless: another picture, another question. */
  private question = 0;
  /** Counts what makes a preview useless: all of that, and a pointer that left. */
  private glance = 0;

  constructor(private readonly model: Segmenter) {}

  /** The answer for a draft, or null when a newer question has come before it. Throws what the model throws. */
  async ask(draft: Draft): Promise<Prediction | null> {
    const question = ++this.question;
    this.stopPreview();
    const prompt = promptOf(draft);
    this.asking++;
    const known = this.known(prompt)?.catch(() => this.model.predict(prompt));
    try {
      const prediction = await (known ?? this.model.predict(prompt));
      return question === this.question ? prediction : null;
    } catch (error) {
      if (question !== this.question) return null;
      throw error;
    } finally {
      this.asking--;
      this.previewNext();
    }
  }

  /**
   * Shows what the model would answer, unless something newer comes first. A preview that fails is none, and while a
   * question waits there is none, as it could take that question's place.
   */
  preview(prompt: Prompt, show: (prediction: Prediction) => void): void {
    this.next = { prompt, show };
    this.previewNext();
  }

  /** Begins with the answer for a draft that `ask` may be asked for in a moment; shows nothing. */
  anticipate(draft: Draft): void {
    this.preview(promptOf(draft), () => {});
  }

  /** Answers that are on their way no longer matter; `keepShown` when the next question may be the one just shown. */
  forget(keepShown = false): void {
    this.question++;
    this.stopPreview();
    if (!keepShown) this.shown = null;
  }

  /** Neither a preview that waits nor one on its way is wanted any more. */
  stopPreview(): void {
    this.glance++;
    this.next = null;
  }

  /** The answer that was asked for last, if to this very prompt. */
  private known(prompt: Prompt): Promise<Prediction> | null {
    return this.shown && equal(this.shown.prompt, prompt) ? this.shown.answer : null;
  }

  private previewNext(): void {
    if (this.busy || this.asking || !this.next) return;
    const { prompt, show } = this.next;
    this.next = null;
    const { glance } = this;
    const answer = this.known(prompt) ?? this.model.predict(prompt);
    this.shown = { prompt, answer };
    this.busy = true;
    answer
      .then((prediction) => glance === this.glance && show(prediction))
      .catch(() => (this.shown = null))
      .finally(() => {
        this.busy = false;
        this.previewNext();
      });
  }
}

/** A mask is the same only as the same object: comparing would take longer than is won. */
function equal(one: Prompt, other: Prompt): boolean {
  const places = ({ points, box }: Prompt): string => JSON.stringify([points, box]);
  return one.maskInput === other.maskInput && places(one) === places(other);
}

function promptOf({ points, box, refines }: Draft): Prompt {
  const prompt: Prompt = { points };
  if (box) prompt.box = box;
  if (refines) prompt.maskInput = refines;
  return prompt;
}
