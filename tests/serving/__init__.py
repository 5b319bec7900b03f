"""The server: connections, requests and responses over real sockets, without a registry behind them."""
