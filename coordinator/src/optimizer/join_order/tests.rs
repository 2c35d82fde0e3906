//! Random joins, in the order of the text and in that of the rule.

use datafusion::arrow::array::{Int32Array, RecordBatch};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// Small numbers that look random; the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn context(with_rule: bool) -> SessionContext {
    let mut rules = PhysicalOptimizer::default().rules;
    if with_rule {
        rules.insert(0, Arc::new(JoinOrder));
    }
    let config = SessionConfig::new().with_target_partitions(2);
    let builder = SessionStateBuilder::new().with_default_features().with_config(config);
    SessionContext::new_with_state(builder.with_physical_optimizer_rules(rules).build())
}

/// A table of some rows with three columns of keys, some of them NULL.
fn table(dice: &mut Dice, rows: usize) -> Arc<MemTable> {
    let mut column = || -> Arc<Int32Array> {
        let values = 1 + dice.below(rows);
        let value = |_| (dice.below(8) > 0).then(|| dice.below(values) as i32);
        Arc::new((0..rows).map(value).collect())
    };
    let batch = RecordBatch::try_from_iter([("a", column() as _), ("b", column() as _), ("c", column() as _)]);
    let batch = batch.expect("a batch");
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("a table"))
}

async fn answer(context: &SessionContext, sql: &str) -> (String, String) {
    let plan = context.sql(sql).await.expect(sql).create_physical_plan().await.expect(sql);
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    let rows = datafusion::physical_plan::collect(plan, context.task_ctx()).await.expect(sql);
    (shown, pretty_format_batches(&rows).expect("shown").to_string())
}

#[tokio::test]
async fn rows_are_the_same_in_any_order() {
    let (mut moved, mut filled) = (0, 0);
    for seed in 0..250 {
        let mut dice = Dice(seed);
        let (plain, ordered) = (context(false), context(true));
        let count = 3 + dice.below(4);
        for at in 0..count {
            let rows = [2, 10, 40, 120][dice.below(4)];
            let table = table(&mut dice, rows);
            for context in [&plain, &ordered] {
                context.register_table(format!("t{at}"), Arc::clone(&table) as _).expect("registered");
            }
        }
        let mut column = |at: usize| format!("t{at}.{}", ["a", "b", "c"][dice.below(3)]);
        let mut sql = String::from(" FROM t0");
        for at in 1..count {
            sql += &format!(" JOIN t{at} ON {} = {}", column(at), column((seed as usize + at) % at));
            if seed % 5 < 2 {
                sql += &format!(" AND {} <= {}", column(at), column(seed as usize % at));
            }
            if at > 1 && seed % 3 == 0 {
                sql += &format!(" AND {} = {}", column(at), column(0));
            }
        }
        // Whole columns, one twice, and one of each table.
        let sums: Vec<String> = (0..count).map(|at| format!("sum({})", column(at))).collect();
        let picked = column(count - 1);
        let outer = if seed % 4 == 0 { format!(" LEFT JOIN t0 AS o ON o.a = {}", column(1)) } else { String::new() };
        let sql = format!(
            "SELECT {picked}, count(*) AS n, {}{sql}{outer} WHERE t0.b IS NOT NULL GROUP BY 1 ORDER BY 1",
            sums.join(", ")
        );
        let (before, expected) = answer(&plain, &sql).await;
        let (after, found) = answer(&ordered, &sql).await;
        assert_eq!(found, expected, "{sql}\n{before}\n{after}");
        moved += usize::from(before != after);
        filled += usize::from(found.lines().count() > 4);
    }
    assert!(moved > 30 && filled > 50, "{moved} plans changed, {filled} gave rows");
}
