-- Tables of the tests on S3: the loader writes each as files, the oracle reads them as they are here.
CREATE TABLE item AS
SELECT CAST(i AS BIGINT) AS id, CAST(1 + (i * 3) % 420 AS BIGINT) AS order_id, CAST(i % 9 AS INTEGER) AS qty, CAST(i * 0.17 AS DECIMAL(10,2)) AS price,
       CASE WHEN i % 13 = 0 THEN NULL ELSE 'sku-' || (i % 25) END AS sku, TIMESTAMP '2024-01-01 00:00:00' + INTERVAL (i) MINUTE AS seen
FROM generate_series(1, 1500) AS g(i);

CREATE TABLE rate AS
SELECT 'sku-' || i AS sku, CAST(0.05 * (i % 5) AS DOUBLE) AS discount FROM generate_series(0, 19) AS g(i);

CREATE TABLE event AS
SELECT CAST(i AS BIGINT) AS id, CASE i % 4 WHEN 0 THEN 'view' WHEN 1 THEN 'cart' WHEN 2 THEN 'buy' ELSE NULL END AS kind, CAST(i * 0.5 + 0.25 AS DOUBLE) AS weight
FROM generate_series(1, 60) AS g(i);
