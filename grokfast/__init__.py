"""Study how networks learn, by grokking or steadily."""
