"""What people call, look at and take away; nothing else imports it."""
