"""`python -m opensam` is the command `opensam`."""

from opensam.cli import main

main()
