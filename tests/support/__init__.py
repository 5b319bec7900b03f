"""What tests share: real servers to start, a clock to move, builders, strategies and the naive oracle."""
