"""The benchmark: experiments, the runner that fills them, the reports made of their run files, speed tests, and the command."""
