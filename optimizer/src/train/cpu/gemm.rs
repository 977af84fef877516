//! Matrix products over slices.

use gemm::Parallelism;

/// A matrix within a slice, read only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix that fills `data`.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::within(data, rows, columns, columns)
    }

    /// Rows that begin `stride` elements apart.
    ///
    /// # Panics
    /// If `data` is too short.
    pub(super) fn within(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            fits(data.len(), rows, columns, stride),
            "the matrix lies in its slice"
        );
        Self {
            data,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The transposed matrix, a view of the same elements.
    pub(super) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Where a product goes: rows of `columns` elements that begin `stride` elements apart.
#[derive(Debug)]
pub(super) struct Target<'a> {
    data: &'a mut [f32],
    stride: usize,
}

impl<'a> Target<'a> {
    /// Rows that begin `stride` elements apart.
    pub(super) fn new(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, stride }
    }
}

/// `target = lhs * rhs`, or with `add` `target += lhs * rhs`. The threads of the current pool share the work, each
/// a part of the target, so that the sums do not depend on timing.
///
/// # Panics
/// If the extents do not fit one another.
#[allow(unsafe_code)]
pub(super) fn multiply(target: &mut Target<'_>, lhs: Matrix<'_>, rhs: Matrix<'_>, add: bool) {
    assert_eq!(lhs.columns, rhs.rows, "the inner extents agree");
    let (rows, columns) = (lhs.rows, rhs.columns);
    let fits = fits(target.data.len(), rows, columns, target.stride);
    assert!(fits && target.stride >= columns, "the product lies in its slice");
    if rows == 0 || columns == 0 {
        return;
    }
    // SAFETY: `Matrix::within` and the assertions above hold every element that the strides reach inside its slice;
    // rows of the target do not overlap, and the target is borrowed mutably, so it is none of the operands.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            lhs.columns,
            target.data.as_mut_ptr(),
            1,
            target.stride as isize,
            add,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(rayon::current_num_threads()),
        );
    }
}

fn fits(len: usize, rows: usize, columns: usize, stride: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * stride + columns <= len
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Small integers are exact.
mod tests {
    use super::*;

    #[test]
    fn products_of_views_are_those_of_matrices() {
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let b = [5.0, 6.0, 7.0, 8.0];
        let mut product = [0.0; 7];
        let lhs = Matrix::within(&a, 2, 2, 3);
        multiply(
            &mut Target::new(&mut product, 4),
            lhs,
            Matrix::new(&b, 2, 2),
            false,
        );
        assert_eq!(product, [19.0, 22.0, 0.0, 0.0, 43.0, 50.0, 0.0]);
        multiply(
            &mut Target::new(&mut product, 4),
            lhs.transposed(),
            Matrix::new(&b, 2, 2),
            true,
        );
        assert_eq!(product, [45.0, 52.0, 0.0, 0.0, 81.0, 94.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "lies in its slice")]
    fn a_matrix_beyond_its_slice_is_refused() {
        let _ = Matrix::new(&[0.0; 5], 2, 3);
    }
}
