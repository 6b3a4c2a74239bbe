"""Files in memory, where instruments write and times jump: an implementation of `agent.files.tree`."""

from agent.simulation.memory.files import MemoryFiles
from agent.simulation.memory.storage import Pen, Storage

__all__ = ["MemoryFiles", "Pen", "Storage"]
