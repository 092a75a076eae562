"""SAM together with other models: `text` finds masks by words, `clip` is what compares words with pictures."""
