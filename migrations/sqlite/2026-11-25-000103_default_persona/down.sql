delete from persona where id = 'persona';
