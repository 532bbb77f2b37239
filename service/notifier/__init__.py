"""The process that tells the world: outbox to deliveries to signed webhooks."""
