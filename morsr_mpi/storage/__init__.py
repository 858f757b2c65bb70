"""Pure parts of what is stored: checkpoints (adapters read and write the files)."""
