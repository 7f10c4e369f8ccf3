"""The figures of the course. Every function takes data, draws it and returns a matplotlib ``Figure``."""
