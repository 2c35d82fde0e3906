-- What each customer bought in the years that are archived: a join of CSV and NDJSON (catalog shop) with Parquet (catalog archive).
SELECT c.name, c.city, count(*) AS sales, sum(s.amount) AS spent, max(s.ordered_on) AS last_sale
FROM shop.main.customer c
JOIN archive.main.sale s ON s.customer_id = c.id
JOIN shop.main.product p ON p.id = s.product_id
WHERE s.state = 'paid' AND p.category IN ('home', 'kitchen')
GROUP BY c.name, c.city
ORDER BY spent DESC, c.name
LIMIT 5;
