drop table persona;
