"""Rules tried without an agent: `try`, `simulate`, and the timelines of the presets."""
