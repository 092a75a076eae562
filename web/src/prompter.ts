/**
 * Asks the model: at most one hover preview at a time, and always for the newest place; a click on the very place
 * that the preview showed takes the preview's answer.
 */
import type { Draft } from "./document";
import type { Prediction, Prompt, Segmenter } from "./segmenter";

export class Prompter {
  private shown: { key: string; answer: Promise<Prediction> } | null = null;
  private busy = false;
  private next: { prompt: Prompt; show: (prediction: Prediction) => void } | null = null;
  /** Counts what makes earlier answers useless: another picture, another question. */
  private question = 0;

  constructor(private readonly model: Segmenter) {}

  /** The answer for a draft, or null when a newer question has come before it. Throws what the model throws. */
  async ask(draft: Draft): Promise<Prediction | null> {
    const question = ++this.question;
    this.next = null;
    const prompt = promptOf(draft);
    const key = JSON.stringify([prompt.points, prompt.box]);
    const known = !prompt.maskInput && this.shown?.key === key ? this.shown.answer : null;
    try {
      const prediction = await (known?.catch(() => this.model.predict(prompt)) ?? this.model.predict(prompt));
      return question === this.question ? prediction : null;
    } catch (error) {
      if (question !== this.question) return null;
      throw error;
    }
  }

  /** Shows what the model would answer, unless something newer comes first. A preview that fails is none. */
  preview(prompt: Prompt, show: (prediction: Prediction) => void): void {
    if (this.busy) {
      this.next = { prompt, show };
      return;
    }
    const question = this.question;
    const answer = this.model.predict(prompt);
    this.shown = { key: JSON.stringify([prompt.points, prompt.box]), answer };
    this.busy = true;
    answer
      .then((prediction) => question === this.question && show(prediction))
      .catch(() => (this.shown = null))
      .finally(() => {
        this.busy = false;
        const next = this.next;
        this.next = null;
        if (next) this.preview(next.prompt, next.show);
      });
  }

  /** Answers that are on their way no longer matter; `keepShown` when the next question may be the one just shown. */
  forget(keepShown = false): void {
    this.question++;
    this.next = null;
    if (!keepShown) this.shown = null;
  }

  /** A waiting preview is not wanted any more. */
  stopPreview(): void {
    this.next = null;
  }
}

function promptOf({ points, box, refines }: Draft): Prompt {
  const prompt: Prompt = { points };
  if (box) prompt.box = box;
  if (refines) prompt.maskInput = refines;
  return prompt;
}
