"""The fault campaign: a simulated instrument, a real agent, everything that can go wrong on one machine, and an oracle."""
