"""Run folders as pages: one self-contained HTML report."""
