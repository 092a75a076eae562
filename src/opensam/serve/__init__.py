"""The HTTP server and what it shows: inference for programs, annotation for people."""
