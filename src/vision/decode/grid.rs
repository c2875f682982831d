//! The cells of feature maps: which place of the image an anchor-free prediction belongs to.

use crate::vision::Size;

/// Strides of the three feature maps most detectors predict on.
pub(super) const STRIDES_3: &[u32] = &[8, 16, 32];

/// Strides of detectors with a fourth, coarser map (NanoDet-Plus, the P6 models).
pub(super) const STRIDES_4: &[u32] = &[8, 16, 32, 64];

/// One cell: its column and row in its map, and the map's stride in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) column: f32,
    pub(super) row: f32,
    pub(super) stride: f32,
}

/// The cells of all feature maps of a model, finest map first, row by row.
///
/// A map has `ceil(size / stride)` columns and rows, as convolutions of stride 2 leave them.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    levels: [Level; MAX_LEVELS],
}

/// The most feature maps any of the models has.
const MAX_LEVELS: usize = STRIDES_4.len();

/// A feature map; one without cells takes no predictions.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    stride: u32,
    columns: usize,
    cells: usize,
}

impl Grid {
    /// The cells of the maps of `strides`, of which there are at most four.
    pub(super) fn new(model: Size, strides: &[u32]) -> Self {
        let level = |&stride: &u32| {
            let columns = model.width.div_ceil(stride) as usize;
            let rows = model.height.div_ceil(stride) as usize;
            Level { stride, columns, cells: columns.saturating_mul(rows) }
        };
        Self { levels: std::array::from_fn(|index| strides.get(index).map_or_else(Level::default, level)) }
    }

    /// Number of cells of all maps.
    pub(super) fn cells(&self) -> usize {
        self.levels.iter().fold(0, |sum, level| sum.saturating_add(level.cells))
    }

    /// The cell of a prediction; `None` beyond the last.
    pub(super) fn cell(&self, prediction: usize) -> Option<Cell> {
        let mut rest = prediction;
        for level in &self.levels {
            if rest < level.cells {
                // A level with cells has columns, so neither division is by zero.
                let (column, row) = (rest % level.columns, rest / level.columns);
                return Some(Cell { column: column as f32, row: row as f32, stride: level.stride as f32 });
            }
            rest -= level.cells;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_counted_map_by_map() {
        let grid = Grid::new(Size::new(64, 32), STRIDES_3);
        assert_eq!(grid.cells(), 8 * 4 + 4 * 2 + 2);
        assert_eq!(grid.cell(0), Some(Cell { column: 0.0, row: 0.0, stride: 8.0 }));
        assert_eq!(grid.cell(9), Some(Cell { column: 1.0, row: 1.0, stride: 8.0 }));
        assert_eq!(grid.cell(32 + 7), Some(Cell { column: 3.0, row: 1.0, stride: 16.0 }));
        assert_eq!(grid.cell(41), Some(Cell { column: 1.0, row: 0.0, stride: 32.0 }));
        assert_eq!(grid.cell(42), None);
    }

    #[test]
    fn known_models_have_the_cells_they_export() {
        assert_eq!(Grid::new(Size::new(320, 320), STRIDES_3).cells(), 2100);
        assert_eq!(Grid::new(Size::new(416, 416), STRIDES_3).cells(), 3549);
        assert_eq!(Grid::new(Size::new(416, 416), STRIDES_4).cells(), 3598);
        assert_eq!(Grid::new(Size::new(640, 640), STRIDES_3).cells(), 8400);
    }

    #[test]
    fn no_size_overflows() {
        let grid = Grid::new(Size::new(u32::MAX, u32::MAX), STRIDES_4);
        assert!(grid.cell(usize::MAX).is_none());
        assert_eq!(Grid::new(Size::new(0, 7), STRIDES_3).cells(), 0);
        assert_eq!(Grid::new(Size::new(0, 7), STRIDES_3).cell(0), None);
    }
}
