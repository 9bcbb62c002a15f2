"""The model in the terminal: what is shown, how a turn is listened to, and the chat around it."""
