"""vLLM as an engine: in this process (`engine`), and as a server that gives exact token statistics (`serving`)."""
