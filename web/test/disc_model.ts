/** A model for tests: three discs about the first point, or the ellipse in the box; other points add or bite discs. */
import { Resize, type Size } from "../src/model/resize";
import type { Candidate, Prediction, Prompt, Segmenter } from "../src/model/segmenter";

export class DiscModel implements Segmenter {
  readonly asked: Prompt[] = [];
  private readonly resize: Resize;

  constructor(
    size: Size,
    private readonly delay = 0,
    imageSize = 1024,
  ) {
    this.resize = new Resize(size, imageSize);
  }

  async predict(prompt: Prompt): Promise<Prediction> {
    this.asked.push(prompt);
    if (this.delay) await new Promise((done) => setTimeout(done, this.delay));
    return { candidates: [24, 40, 10].map((radius, index) => this.candidate(prompt, radius, 0.95 - 0.1 * index)) };
  }

  private candidate(prompt: Prompt, radius: number, predictedIou: number): Candidate {
    const [rows, columns] = this.resize.gridSize.map((cells) => 4 * cells) as [number, number];
    const cell = (value: number): number => (value * this.resize.scale) / 4;
    const data = new Float32Array(rows * columns);
    const { box } = prompt;
    data.forEach((_, at) => {
      const [x, y] = [(at % columns) + 0.5, Math.floor(at / columns) + 0.5];
      let logit = -10;
      if (box) {
        const [left, top, right, bottom] = box.map(cell) as [number, number, number, number];
        const [across, down] = [(2 * x - left - right) / (right - left), (2 * y - top - bottom) / (bottom - top)];
        logit = (1 - Math.hypot(across, down)) * 10;
      }
      for (const point of prompt.points) {
        const distance = Math.hypot(x - cell(point.x), y - cell(point.y));
        if (point.label) logit = Math.max(logit, radius - distance);
        else logit = Math.min(logit, distance - radius / 2);
      }
      data[at] = logit;
    });
    return { predictedIou, stabilityScore: 0.9, lowRes: { data, rows, columns } };
  }
}
