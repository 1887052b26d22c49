"""Questions and answers written from chunks, filtered, and made into training sets."""
