"""How prompts say more than plain text: weights in compel's and A1111's syntax. Pure Python, for both sides."""
