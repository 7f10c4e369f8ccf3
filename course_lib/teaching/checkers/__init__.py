"""Checkers of the exercises: each looks at an answer and says what it shows, or gives a hint that leads on."""
