"""Questions to people and their answers: kept, shown, decided, recorded; the core says what an answer is worth."""
