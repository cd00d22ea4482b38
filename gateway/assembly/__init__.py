"""The only place that builds clients, stores and the log: a file for each of those who work with them."""
