"""What the agent shows of itself: metrics, status, explain, report, logs, and the status page."""
