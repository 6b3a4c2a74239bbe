"""The tables of the configuration, their validation, and their description in words."""
