"""Agreement among ranks that may fail or lie (paper section 9.1)."""
