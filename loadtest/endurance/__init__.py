"""Many people before real gateways for a long time: every answer checked whole, the log compared, memory watched."""
