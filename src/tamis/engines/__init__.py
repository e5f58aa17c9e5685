"""Models behind one protocol (`base`): one module an engine, imported only when asked for."""
