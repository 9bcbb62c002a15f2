"""What people see: the chat page, and what it has in common with the widget."""
