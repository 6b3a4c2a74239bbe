"""The composition root: the configuration is read, the parts of an agent are made from it, connected, and run."""
