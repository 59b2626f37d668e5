"""Where jobs come from: one adapter a service, each translating an SDK into the words of `models`."""
