"""What people look at: pictures of what distillation does."""
