-- Small tables whose values a source may compare, sort or count otherwise than SQL does; for sql-tests/cases/traps.
-- The part before "only Postgres" is also run by the oracle, and its rows are in MongoDB too: NULL as null and, in rows of an odd id, as a missing field.
DROP SCHEMA IF EXISTS trap CASCADE;
CREATE SCHEMA trap;

CREATE TABLE trap.word (id integer, line varchar, folded varchar);
INSERT INTO trap.word SELECT id, line, line FROM (VALUES
    (1, 'a'), (2, 'A'), (3, 'b'), (4, 'B'), (5, 'z'), (6, 'Z'), (7, 'ä'), (8, 'Ä'), (9, 'é'), (10, 'e' || chr(769)),
    (11, ''), (12, NULL), (13, 'test.1'), (14, 'test-2'), (15, 'test3'), (16, 'Test.4'), (17, 'abc'), (18, 'abc  '), (19, 'abc\'), (20, 'a%'),
    (21, 'a_b'), (22, 'a\b'), (23, 'a' || chr(10) || 'b'), (24, 'a' || chr(10)), (25, 'a b'), (26, 'a-b'), (27, 'ab'), (28, 'ß'), (29, 'ss'), (30, 'o''x'),
    (31, 'a''''b'), (32, '\'' OR true -- '), (33, '5'), (34, NULL), (35, 'a.b'), (36, '日本'), (37, NULL)) AS v(id, line);

CREATE TABLE trap.gap (id integer, a integer, b integer, s varchar);
INSERT INTO trap.gap VALUES
    (1, 1, 1, 'x'), (2, NULL, 1, 'y'), (3, 2, NULL, 'x'), (4, NULL, NULL, NULL), (5, 5, 2, NULL), (6, 6, NULL, 'xy'), (7, 7, 3, ''), (8, NULL, 3, 'X'),
    (9, NULL, NULL, 'y'), (10, NULL, 5, NULL), (11, 9, 9, 'z'), (12, NULL, 9, 'x');

CREATE TABLE trap.number (id integer, n bigint, m integer, f float8, d decimal(12,4));
INSERT INTO trap.number VALUES
    (1, -9223372036854775807 - 1, -2147483648, CAST('NaN' AS float8), 0.0001), (2, 9223372036854775807, 2147483647, CAST('Infinity' AS float8), -0.0001),
    (3, 9007199254740993, 7, CAST('-Infinity' AS float8), 12345678.9), (4, 9007199254740992, -7, 0, 100), (5, -7, 2, CAST('-0' AS float8), 100.5),
    (6, 7, -2, 1.5, NULL), (7, 0, 0, 100.5, 0), (8, NULL, NULL, NULL, 2.5), (9, 3, 10, CAST('NaN' AS float8), 2.5), (10, 3, 10, -1.5, NULL);

CREATE TABLE trap.moment (id integer, d date, t timestamp, z timestamptz);
INSERT INTO trap.moment (id, d, t) VALUES
    (1, DATE '0001-01-01', TIMESTAMP '0001-01-01 00:00:00'), (2, DATE '1582-10-04', TIMESTAMP '1582-10-04 23:59:59.999'),
    (3, DATE '1582-10-10', TIMESTAMP '1582-10-10 12:00:00'), (4, DATE '1582-10-15', TIMESTAMP '1582-10-15 00:00:00'),
    (5, DATE '1677-09-20', TIMESTAMP '1677-09-20 00:00:00'), (6, DATE '1969-12-31', TIMESTAMP '1969-12-31 23:59:59.999'),
    (7, DATE '1970-01-01', TIMESTAMP '1970-01-01 00:00:00'), (8, DATE '2024-03-31', TIMESTAMP '2024-03-31 00:59:59.999'),
    (9, DATE '2024-03-31', TIMESTAMP '2024-03-31 01:00:00'), (10, DATE '2024-10-27', TIMESTAMP '2024-10-27 00:30:00'),
    (11, DATE '2024-10-27', TIMESTAMP '2024-10-27 01:30:00'), (12, DATE '2024-06-30', TIMESTAMP '2024-06-30 18:14:59.999'),
    (13, DATE '2024-06-30', TIMESTAMP '2024-06-30 18:15:00'), (14, DATE '2262-04-12', TIMESTAMP '2262-04-12 00:00:00'),
    (15, DATE '9999-12-31', TIMESTAMP '9999-12-31 23:59:59.999'), (16, NULL, NULL);
UPDATE trap.moment SET z = t AT TIME ZONE 'UTC';

-- only Postgres
CREATE COLLATION trap.loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
ALTER TABLE trap.word ALTER line TYPE varchar COLLATE "en-US-x-icu", ALTER folded TYPE varchar COLLATE trap.loose;
CREATE TABLE trap.padded AS SELECT id, CAST(line AS char(8)) AS fixed, CAST(line AS varchar) AS line FROM trap.word WHERE id IN (11, 12, 17, 18, 27);
CREATE TYPE trap.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE trap.pair AS (a integer, b text);
CREATE TABLE trap.kind (id integer, mood trap.mood, price money, flags bit(3), code uuid, raw bytea, list integer[], pair trap.pair, doc jsonb, free numeric);
INSERT INTO trap.kind VALUES
    (1, 'sad', '9.50', B'101', 'ffffffff-0000-0000-0000-000000000000', '\xff', '{1,2}', '(1,a)', '{"b": 1, "a": 2}', 1.0),
    (2, 'ok', '10.00', B'010', '0fffffff-0000-0000-0000-000000000000', '\x00ff', '[5:6]={1,2}', '(,)', '[]', 1.00),
    (3, 'happy', '-1.00', B'111', 'a0000000-0000-0000-0000-000000000000', '\x', '{}', '(2,)', '{"a":2,"b":1}', '12345678901234567890123456789012345678901234567890.5'),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'NaN');
CREATE TABLE trap.never (id integer, fine numeric(5,2), d date, t timestamp, z timestamptz, nested integer[]);
INSERT INTO trap.never VALUES (1, 'NaN', 'infinity', '-infinity', 'infinity', '{{1},{2}}');
CREATE TABLE trap.fine (id integer, t timestamp);
INSERT INTO trap.fine VALUES (1, '1969-12-31 23:59:59.999999'), (2, '1970-01-01 00:00:00.000001'), (3, '1066-10-14 09:00:00.000001'), (4, '12345-01-01 00:00:00');
CREATE TABLE trap.name (id integer, "Name" integer, name integer, "NAME" integer, "select" integer, "a b" integer, "a.b" integer, "a""b" integer,
    n23456789012345678901234567890123456789012345678901234567890123 integer);
INSERT INTO trap.name VALUES (1, 10, 20, 30, 40, 50, 60, 70, 80), (2, 20, 10, 31, 41, 51, 61, 71, 81);
ANALYZE;
