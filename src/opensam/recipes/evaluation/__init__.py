"""The evaluations as runs: a config, a model and workers make a report."""
