"""What the pages of the course use: figures, explorers, checkers, example crystals. The library does not import it."""
