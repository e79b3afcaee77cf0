create index if not exists persona_of_channel on persona (channel, id)
