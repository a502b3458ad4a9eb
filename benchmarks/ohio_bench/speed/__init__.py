"""Speed beside honest references, one file a test and one for its page; `run` measures, checks and writes."""
