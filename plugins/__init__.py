"""The built-in plugins: one folder per kind. Third parties use a package of their own."""
