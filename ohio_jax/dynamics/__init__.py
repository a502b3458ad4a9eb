"""Models of the low level's world: pytrees with two methods.

- `step(x, u) -> x'`: the next state. linear(x) -> (A, B, c): x' = A x + B u + c near x, for small u.
"""
