"""Settings of the property tests."""

from hypothesis import settings

# The same examples in each run, however slow the machine: a failure belongs to the change that caused it.
settings.register_profile("opensam", deadline=None, derandomize=True)
settings.load_profile("opensam")
