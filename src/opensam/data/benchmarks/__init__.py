"""The data sets of the paper's evaluations, read where they lie in the layout in which they are published.

Read `table` for what there is and where the files lie, `paired` for how most of them are read.
"""

from opensam.data.benchmarks.sampling import sampled
from opensam.data.benchmarks.table import BENCHMARKS, Benchmark, benchmark_names, open_benchmark

__all__ = ["BENCHMARKS", "Benchmark", "benchmark_names", "open_benchmark", "sampled"]
