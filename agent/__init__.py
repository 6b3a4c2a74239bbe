"""The shell: everything that touches clock, disk, network, thread or user. Decisions are in `rules`."""
