"""Tables as text."""

import io

from ohio_bench.experiments import table_of
from ohio_bench.report import aggregate, markdown

from tests.ohio_bench import boards


def test_scripted_policies_alone_are_shown(tmp_path):
    """As after `bench reacher --only reacher.policy.expert` in a new folder."""
    boards.write(tmp_path, boards.scripted("expert", 100.0))
    table, out = table_of("reacher"), io.StringIO()
    markdown.show(table, aggregate.board(table, "cpu", tmp_path).entries, out, False)
    heading, line = out.getvalue().strip().splitlines()
    assert heading.split()[:2] == ["policy", "score"]
    assert line.split() == ["Reacher", "expert", "99.5", "±", "0.7", "976"]
