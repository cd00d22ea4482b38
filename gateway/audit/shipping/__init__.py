"""Sending the log to a collector as it grows. The journal is the spool; a cursor says what has arrived."""
