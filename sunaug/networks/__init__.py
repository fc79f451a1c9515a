"""The networks: generators, discriminators and the layers they share."""
