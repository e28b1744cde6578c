//! When answers are the same.
//!
//! A matrix product of many rows adds up in another order than that of one row, so the last bits
//! of an answer may depend on the batch that it was computed in.

use crate::Result;

/// How far an output of a batch may be from that of its input alone. Outputs are about 1, and another
/// order of additions changes some millionths of that.
pub(crate) const TOLERANCE: f32 = 1e-4;

/// Compares the answers of a run with those of the inputs alone: gives the largest difference of any
/// output.
///
/// # Errors
///
/// When it is larger than [`TOLERANCE`], or not a number, or outputs are missing.
pub(crate) fn compare(answers: &[Vec<f32>], expected: &[Vec<f32>]) -> Result<f32> {
    let shape = |answers: &[Vec<f32>]| answers.iter().map(Vec::len).collect::<Vec<_>>();
    if shape(answers) != shape(expected) {
        return Err("not as many outputs as expected".into());
    }
    let pairs = answers.iter().flatten().zip(expected.iter().flatten());
    let differences = pairs.map(|(output, expected)| (output - expected).abs());
    // By this order a NaN is the largest of all.
    let largest = differences.max_by(f32::total_cmp).unwrap_or(0.0);
    if largest <= TOLERANCE {
        return Ok(largest);
    }
    Err(format!("an answer is {largest:e} off, allowed is {TOLERANCE:e}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_output_is_found() {
        let expected = [vec![1.0, -2.0], vec![3.0, 4.0]];
        let compare = |answers: &[Vec<f32>]| compare(answers, &expected);
        assert_eq!(compare(&expected).unwrap(), 0.0);
        assert!(compare(&[vec![1.0, -2.00005], vec![3.0, 4.0]]).unwrap() > 0.0);
        compare(&[vec![1.0, -2.0], vec![3.0, 4.001]]).unwrap_err();
        compare(&[vec![3.0, 4.0], vec![1.0, -2.0]]).unwrap_err();
        compare(&[vec![f32::NAN, -2.0], vec![3.0, 4.0]]).unwrap_err();
    }

    #[test]
    fn one_that_is_missing_is_found() {
        let expected = [vec![1.0, 2.0]];
        compare(&[], &expected).unwrap_err();
        compare(&[vec![1.0]], &expected).unwrap_err();
    }
}
