"""Dropline's benchmark: `python -m bench SCENARIO` from the repository root, Linux only. See bench/README.md."""
