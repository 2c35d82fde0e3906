-- Tables of the tests in Postgres. The part before "only Postgres" is also run by the oracle.
DROP SCHEMA IF EXISTS sales CASCADE;
CREATE SCHEMA sales;

CREATE TABLE sales.customers (id integer PRIMARY KEY, name varchar NOT NULL, city varchar, credit numeric(12,2));
INSERT INTO sales.customers
SELECT i, 'Customer ' || i, CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN 'Kathmandu' WHEN 2 THEN 'Zürich' WHEN 3 THEN 'Oslo' ELSE '' END,
       CASE WHEN i % 7 = 0 THEN NULL ELSE CAST(i * 12.25 AS numeric(12,2)) END
FROM generate_series(1, 40) AS g(i);

CREATE TABLE sales.orders (id bigint PRIMARY KEY, customer_id integer, ordered_on date, total numeric(12,2), state varchar);
INSERT INTO sales.orders
SELECT i, CASE WHEN i % 11 = 0 THEN NULL ELSE 1 + (i * 7) % 50 END, DATE '2024-01-01' + CAST(i % 300 AS integer), CAST(i * 1.37 AS numeric(12,2)),
       CASE i % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'paid' ELSE 'sent' END
FROM generate_series(1, 400) AS g(i);

CREATE TABLE sales.empty (id integer, name varchar);

-- only Postgres
CREATE TABLE sales.many AS SELECT i AS id, i % 100 AS kind, md5(CAST(i AS text)) AS line FROM generate_series(1, 20000) AS g(i);
ANALYZE sales.many;
-- A server that lets few connections in: the limit of a role has the same SQLSTATE.
DO $$ BEGIN CREATE ROLE crowded LOGIN PASSWORD 'crowded' CONNECTION LIMIT 20; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT USAGE ON SCHEMA sales TO crowded;
GRANT SELECT ON sales.many TO crowded;
CREATE TYPE sales.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE sales.kinds (
    id integer PRIMARY KEY, small smallint, big bigint, single real, double double precision, flag boolean, money numeric(20,4),
    line text, short varchar(5), fixed char(5), day date, moment timestamp, instant timestamptz, code uuid, doc jsonb, mood sales.mood
);
INSERT INTO sales.kinds VALUES
    (1, -32768, -9223372036854775808, 1.5, 0.1, true, 9999999999999999.9999, 'it''s "quoted"', 'abc', 'ab', '1999-12-31', '2024-02-29 23:59:59.123456', '2024-02-29 23:59:59.123456+02',
     '123e4567-e89b-12d3-a456-426614174000', '{"a": [1, null]}', 'happy'),
    (2, 32767, 9223372036854775807, 'NaN', 'Infinity', false, -0.0001, '', '', '', '0001-01-01', '1970-01-01 00:00:00', '1970-01-01 00:00:00+00',
     '00000000-0000-0000-0000-000000000000', '[]', 'sad'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE sales."Mixed Case" ("Id" integer, "select" text);
INSERT INTO sales."Mixed Case" VALUES (1, 'a'), (2, 'b');
CREATE VIEW sales.paid AS SELECT id, total FROM sales.orders WHERE state = 'paid';
ANALYZE;
