"""The only code that opens, renames, flushes or deletes files that are not the agent's own."""
