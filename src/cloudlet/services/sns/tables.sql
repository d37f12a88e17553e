-- What was published to FIFO topics in the last five minutes (`until`: epoch seconds), and their last sequence number.
create table if not exists sns_dedup (
  topic text not null, token text not null, message_id text not null, sequence text not null, until double precision not null,
  primary key (topic, token)) without rowid;
create index if not exists sns_dedup_until on sns_dedup (topic, until);
create table if not exists sns_sequence (topic text primary key, last bigint not null);
