alter table message drop column persona_id; alter table message drop column persona_name;
