"""What a browser's parser says of a page."""

import tinyhtml5.parser


def errors(text: str) -> list:
    parser = tinyhtml5.parser.HTMLParser()
    parser._parse(text)
    return parser.errors
