"""The interface of `agent.files` on Windows. What it decides runs on every platform; `nt` alone calls Windows."""
