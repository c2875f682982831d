//! The choice among pairs of rows and columns: each row and column in one pair at most.

/// A row and a column that may be a pair, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    pub(super) row: usize,
    pub(super) column: usize,
    /// Pairs with a cost that is not below the limit, or no number, are none.
    pub(super) cost: f64,
}

/// Chooses, and keeps its memory for the next time.
#[derive(Debug, Default)]
pub(super) struct Assigner {
    /// Of rows, then of columns: the next node on the way to the one that stands for all that are connected.
    parents: Vec<usize>,
    /// Pairs with what stands for their part.
    parted: Vec<(usize, Pair)>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    costs: Vec<f64>,
    taken: Vec<bool>,
    solver: Solver,
    chosen: Vec<(usize, usize)>,
}

impl Assigner {
    /// The pairs, by row and column, for which the sum of costs is least, where a row without a column costs `limit`.
    ///
    /// Pairs that share no row and no column with others, directly or by way of others, are decided apart: the work
    /// grows with the cube of the largest such part, not of everything.
    pub(super) fn best(&mut self, pairs: &[Pair], limit: f64) -> &[(usize, usize)] {
        self.chosen.clear();
        self.part(pairs, limit);
        let mut parted = std::mem::take(&mut self.parted);
        for part in parted.chunk_by(|(one, _), (other, _)| one == other) {
            match part {
                [(_, only)] => self.chosen.push((only.row, only.column)),
                _ => self.best_of_part(part, limit),
            }
        }
        parted.clear();
        self.parted = parted;
        self.chosen.sort_unstable();
        &self.chosen
    }

    /// The pairs, by row and column, that are left when the cheapest one is taken again and again.
    pub(super) fn greedy(&mut self, pairs: &[Pair], limit: f64) -> &[(usize, usize)] {
        self.chosen.clear();
        self.part(pairs, limit);
        self.parted.sort_unstable_by(|(_, one), (_, other)| {
            one.cost
                .total_cmp(&other.cost)
                .then_with(|| (one.row, one.column).cmp(&(other.row, other.column)))
        });
        let Self { taken, parents, parted, chosen, .. } = self;
        refill(taken, parents.len(), false);
        let columns_begin = pairs.iter().map(|pair| pair.row + 1).max().unwrap_or(0);
        for (_, pair) in parted.iter() {
            let (row, column) = (pair.row, columns_begin + pair.column);
            if !taken[row] && !taken[column] {
                (taken[row], taken[column]) = (true, true);
                chosen.push((pair.row, pair.column));
            }
        }
        chosen.sort_unstable();
        chosen
    }

    /// Leaves out what is no pair, and sorts the others by their part, row and column.
    fn part(&mut self, pairs: &[Pair], limit: f64) {
        let columns_begin = pairs.iter().map(|pair| pair.row + 1).max().unwrap_or(0);
        let columns = pairs.iter().map(|pair| pair.column + 1).max().unwrap_or(0);
        self.parents.clear();
        self.parents.extend(0..columns_begin + columns);
        self.parted.clear();
        for pair in pairs.iter().filter(|pair| pair.cost.is_finite() && pair.cost < limit) {
            let row = root(&mut self.parents, pair.row);
            let column = root(&mut self.parents, columns_begin + pair.column);
            self.parents[column] = row;
            self.parted.push((0, *pair));
        }
        for (part, pair) in &mut self.parted {
            *part = root(&mut self.parents, pair.row);
        }
        self.parted.sort_unstable_by_key(|(part, pair)| (*part, pair.row, pair.column));
    }

    fn best_of_part(&mut self, part: &[(usize, Pair)], limit: f64) {
        let Self { rows, columns, costs, solver, chosen, .. } = self;
        distinct(rows, part.iter().map(|(_, pair)| pair.row));
        distinct(columns, part.iter().map(|(_, pair)| pair.column));
        // The solver wants no more rows than columns.
        let turned = rows.len() > columns.len();
        let (short, long) = if turned { (&*columns, &*rows) } else { (&*rows, &*columns) };
        costs.clear();
        costs.resize(short.len() * long.len(), limit);
        for (_, pair) in part {
            let (one, other) = if turned { (pair.column, pair.row) } else { (pair.row, pair.column) };
            if let (Ok(one), Ok(other)) = (short.binary_search(&one), long.binary_search(&other)) {
                costs[one * long.len() + other] = pair.cost;
            }
        }
        for (one, other) in solver.solve(costs, short.len(), long.len()) {
            // What was filled in only says that there is no pair.
            if costs[one * long.len() + other] < limit {
                let pair = (short[one], long[other]);
                chosen.push(if turned { (pair.1, pair.0) } else { pair });
            }
        }
    }
}

/// What stands for all that are connected with `node`; shortens the way to it.
fn root(parents: &mut [usize], mut node: usize) -> usize {
    while parents[node] != node {
        parents[node] = parents[parents[node]];
        node = parents[node];
    }
    node
}

fn distinct(into: &mut Vec<usize>, values: impl Iterator<Item = usize>) {
    into.clear();
    into.extend(values);
    into.sort_unstable();
    into.dedup();
}

/// The Hungarian method by shortest augmenting paths with potentials, as Jonker and Volgenant (1987) describe it:
/// O(rows² · columns).
#[derive(Debug, Default)]
struct Solver {
    row_potentials: Vec<f64>,
    column_potentials: Vec<f64>,
    /// The row of each column; rows and columns count from 1, 0 is none.
    row_of: Vec<usize>,
    came_from: Vec<usize>,
    least: Vec<f64>,
    visited: Vec<bool>,
}

impl Solver {
    /// The column of each row for which the sum of `costs` (row by row, all finite) is least.
    fn solve(&mut self, costs: &[f64], rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
        assert!(rows <= columns && costs.len() == rows * columns, "{rows} rows, {columns} columns");
        refill(&mut self.row_potentials, rows + 1, 0.0);
        refill(&mut self.column_potentials, columns + 1, 0.0);
        refill(&mut self.row_of, columns + 1, 0);
        refill(&mut self.came_from, columns + 1, 0);
        for row in 1..=rows {
            self.row_of[0] = row;
            let mut column = self.free_column(costs, columns);
            while column != 0 {
                let before = self.came_from[column];
                self.row_of[column] = self.row_of[before];
                column = before;
            }
        }
        let rows_of_columns = self.row_of.iter().enumerate().skip(1);
        rows_of_columns.filter(|(_, row)| **row != 0).map(|(column, row)| (row - 1, column - 1))
    }

    /// The end of the shortest path from the row at column 0 to a column without a row.
    fn free_column(&mut self, costs: &[f64], columns: usize) -> usize {
        refill(&mut self.least, columns + 1, f64::INFINITY);
        refill(&mut self.visited, columns + 1, false);
        let mut at = 0;
        loop {
            self.visited[at] = true;
            let row = self.row_of[at];
            let (mut step, mut next) = (f64::INFINITY, 0);
            let row_costs = &costs[(row - 1) * columns..row * columns];
            for (column, cost) in (1..).zip(row_costs) {
                if self.visited[column] {
                    continue;
                }
                let reduced = cost - self.row_potentials[row] - self.column_potentials[column];
                if reduced < self.least[column] {
                    (self.least[column], self.came_from[column]) = (reduced, at);
                }
                if self.least[column] < step {
                    (step, next) = (self.least[column], column);
                }
            }
            for column in 0..=columns {
                if self.visited[column] {
                    self.row_potentials[self.row_of[column]] += step;
                    self.column_potentials[column] -= step;
                } else {
                    self.least[column] -= step;
                }
            }
            at = next;
            if self.row_of[at] == 0 {
                return at;
            }
        }
    }
}

fn refill<T: Clone>(values: &mut Vec<T>, len: usize, value: T) {
    values.clear();
    values.resize(len, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(costs: &[&[f64]]) -> Vec<Pair> {
        let row = |(row, costs): (usize, &&[f64])| {
            let pair = move |(column, cost): (usize, &f64)| Pair { row, column, cost: *cost };
            costs.iter().enumerate().map(pair).collect::<Vec<_>>()
        };
        costs.iter().enumerate().flat_map(row).collect()
    }

    #[test]
    fn the_best_choice_is_not_the_greedy_one() {
        let pairs = pairs(&[&[0.1, 0.2], &[0.2, 0.9]]);
        assert_eq!(Assigner::default().best(&pairs, 1.0), [(0, 1), (1, 0)]);
        assert_eq!(Assigner::default().greedy(&pairs, 1.0), [(0, 0), (1, 1)]);
        assert_eq!(Assigner::default().greedy(&pairs, 0.5), [(0, 0)]);
    }

    #[test]
    fn what_is_not_below_the_limit_or_no_number_is_no_pair() {
        let pairs = pairs(&[&[0.5, f64::NAN], &[f64::INFINITY, f64::NEG_INFINITY], &[0.7, 0.4]]);
        let mut assigner = Assigner::default();
        assert_eq!(assigner.best(&pairs, 0.5), [(2, 1)]);
        assert_eq!(assigner.greedy(&pairs, 0.5), [(2, 1)]);
        assert_eq!(assigner.best(&[], 0.5), []);
        assert_eq!(assigner.greedy(&[], 0.5), []);
    }

    /// Every choice there is, one after another.
    fn least_sum(pairs: &[Pair], limit: f64, row: usize, rows: usize, taken: u32) -> f64 {
        if row == rows {
            return 0.0;
        }
        let without = limit + least_sum(pairs, limit, row + 1, rows, taken);
        let of_row = pairs.iter().filter(|pair| pair.row == row && pair.cost < limit);
        let free = of_row.filter(|pair| taken & (1 << pair.column) == 0);
        let with = |pair: &Pair| pair.cost + least_sum(pairs, limit, row + 1, rows, taken | 1 << pair.column);
        free.map(with).fold(without, f64::min)
    }

    proptest! {
        #[test]
        fn no_other_choice_is_better(
            rows in 1_usize..7,
            columns in 1_usize..7,
            costs in proptest::collection::vec(0.0..1.0_f64, 49),
            absent in proptest::collection::vec(proptest::bool::weighted(0.4), 49),
            limit in 0.1..1.2_f64,
        ) {
            let all = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
            let pairs: Vec<_> = all
                .map(|(row, column)| (row * 7 + column, row, column))
                .filter(|(at, ..)| !absent[*at])
                .map(|(at, row, column)| Pair { row, column, cost: costs[at] })
                .collect();
            let mut assigner = Assigner::default();
            let chosen = assigner.best(&pairs, limit).to_vec();
            let cost = |pair: &(usize, usize)| {
                pairs.iter().find(|one| (one.row, one.column) == *pair).expect("a pair that was given").cost
            };
            let sum = chosen.iter().map(cost).sum::<f64>() + (rows - chosen.len()) as f64 * limit;
            let best = least_sum(&pairs, limit, 0, rows, 0);
            prop_assert!((sum - best).abs() < 1e-9, "{} against {}", sum, best);
            prop_assert_eq!(assigner.best(&pairs, limit), &chosen, "the same again");
            let mut used: Vec<_> = chosen.iter().map(|pair| pair.1).collect();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(used.len(), chosen.len());
        }
    }
}
