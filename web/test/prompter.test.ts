import { describe, expect, it } from "vitest";
import { BLANK, type Draft } from "../src/document";
import { Prompter } from "../src/model/prompter";
import type { Prediction, Prompt, Segmenter } from "../src/model/segmenter";

/** Answers when told to. */
class Slow implements Segmenter {
  readonly asked: { prompt: Prompt; answer: (prediction: Prediction) => void; fail: (error: Error) => void }[] = [];

  predict(prompt: Prompt): Promise<Prediction> {
    return new Promise((answer, fail) => this.asked.push({ prompt, answer, fail }));
  }
}

const at = (x: number): Draft => ({ ...BLANK, points: [{ x, y: 0, label: 1 }], pending: true });
const NONE: Prediction = { candidates: [] };
const settled = (): Promise<void> => new Promise((done) => setTimeout(done));

describe("the prompter", () => {
  it("previews the newest place only, one at a time", async () => {
    const model = new Slow();
    const prompter = new Prompter(model);
    const shown: number[] = [];
    for (const x of [1, 2, 3, 4]) prompter.preview({ points: at(x).points }, () => shown.push(x));
    expect(model.asked).toHaveLength(1);
    model.asked[0]!.answer(NONE);
    await settled();
    expect(model.asked.map(({ prompt }) => prompt.points[0]!.x)).toEqual([1, 4]);
    model.asked[1]!.answer(NONE);
    await settled();
    expect(shown).toEqual([1, 4]);
  });

  it("takes the preview's answer for a click on the same place", async () => {
    const model = new Slow();
    const prompter = new Prompter(model);
    prompter.preview({ points: at(5).points }, () => {});
    const answer = prompter.ask(at(5));
    model.asked[0]!.answer(NONE);
    expect(await answer).toBe(NONE);
    expect(model.asked).toHaveLength(1);
    void prompter.ask(at(6));
    expect(model.asked).toHaveLength(2);
  });

  it("begins when the button goes down, also with the click that corrects a mask", async () => {
    const model = new Slow();
    const prompter = new Prompter(model);
    const refines = { data: new Float32Array(1), rows: 1, columns: 1 };
    prompter.anticipate({ ...at(5), refines });
    const answer = prompter.ask({ ...at(5), refines });
    model.asked[0]!.answer(NONE);
    expect(await answer).toBe(NONE);
    expect(model.asked).toHaveLength(1);
    void prompter.ask({ ...at(5), refines: { ...refines } });
    expect(model.asked[1]!.prompt.maskInput).toEqual(refines);
  });

  it("asks anew where that preview failed", async () => {
    const model = new Slow();
    const prompter = new Prompter(model);
    prompter.preview({ points: at(5).points }, () => {});
    const answer = prompter.ask(at(5));
    model.asked[0]!.fail(new Error("cancelled"));
    await settled();
    model.asked[1]!.answer(NONE);
    expect(await answer).toBe(NONE);
  });

  it("gives null for a question that a newer one has overtaken, also when it fails", async () => {
    const model = new Slow();
    const prompter = new Prompter(model);
    const [first, second, third] = [prompter.ask(at(1)), prompter.ask(at(2)), prompter.ask(at(3))];
    model.asked[0]!.fail(new Error("cancelled"));
    model.asked[1]!.answer(NONE);
    model.asked[2]!.answer(NONE);
    expect(await Promise.all([first, second, third])).toEqual([null, null, NONE]);
  });

  it("does not let a preview take the place of a question", async () => {
    const model = new Slow();
    const prompter = new Prompter(model);
    const answer = prompter.ask(at(1));
    let shown = false;
    prompter.preview({ points: at(2).points }, () => (shown = true));
    expect(model.asked).toHaveLength(1);
    model.asked[0]!.answer(NONE);
    expect(await answer).toBe(NONE);
    await settled();
    model.asked[1]!.answer(NONE);
    await settled();
    expect(shown).toBe(true);
  });

  it("passes on why the model could not answer", async () => {
    const model = new Slow();
    const answer = new Prompter(model).ask(at(1));
    model.asked[0]!.fail(new Error("The model is gone."));
    await expect(answer).rejects.toThrow("The model is gone.");
  });

  it("shows no preview any more once the pointer has left", async () => {
    const model = new Slow();
    const prompter = new Prompter(model);
    let shown = false;
    prompter.preview({ points: at(1).points }, () => (shown = true));
    prompter.stopPreview();
    model.asked[0]!.answer(NONE);
    await settled();
    expect(shown).toBe(false);
  });

  it("shows no preview of a picture that was left", async () => {
    const model = new Slow();
    const prompter = new Prompter(model);
    let shown = false;
    prompter.preview({ points: at(1).points }, () => (shown = true));
    prompter.forget();
    model.asked[0]!.answer(NONE);
    await settled();
    expect(shown).toBe(false);
  });
});
