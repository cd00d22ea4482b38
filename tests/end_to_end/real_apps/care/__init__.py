"""A model of patients for Django's own administration."""
